"""Control tokens that stand literally in somebody's words, encoded as the text that they are.

A tokenizer takes ``<|im_end|>`` for the end of a turn whoever wrote it. Here such a text is broken behind its first
character, and its two halves are encoded apart: the ids are those of text, and decoded they give the same text.
"""

import re
from typing import Any

# A noncharacter of Unicode: no text that anybody exchanges has one.
BREAK = "\ufdd0"
# Of the few ids that a header or an ending is, the text is remembered.
_FEW, _KEPT = 16, 1 << 14


def control_tokens(tokenizer: Any, formatter: Any = None) -> re.Pattern[str] | None:
    """Returns what finds the control tokens of a tokenizer in a text; None where it has none.

    Args:
        tokenizer: NeMo's wrapper of a Hugging Face tokenizer; of any other, nothing is known.
        formatter: A NeMo prompt format, whose turns may be made of added tokens that are not special.
    """
    inner = getattr(tokenizer, "tokenizer", None)
    added = getattr(inner, "added_tokens_decoder", {})
    tokens = {str(token) for token in getattr(inner, "all_special_tokens", ())}
    tokens |= {token.content for token in added.values() if token.special}
    template = str(getattr(formatter, "TEMPLATE", ""))
    tokens |= {token.content for token in added.values() if token.content.strip() and token.content in template}
    # The longest first: one may begin with another.
    ordered = sorted((token for token in tokens if len(token) > 1), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def broken(text: str, controls: re.Pattern[str] | None) -> str:
    """Breaks the control tokens of a text; ``PlainTextTokenizer`` encodes it."""
    if controls is None:
        return text
    return controls.sub(lambda match: f"{match[0][0]}{BREAK}{match[0][1:]}", text.replace(BREAK, ""))


class PlainTextTokenizer:
    """A tokenizer that encodes the pieces of a broken text apart.

    Args:
        tokenizer: NeMo's interface of one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._whole = tokenizer
        self._texts: dict[tuple[Any, ...], str] = {}

    def text_to_ids(self, text: str) -> list[int]:
        """Returns the ids of a text."""
        if BREAK not in text:
            return self._whole.text_to_ids(text)
        return [token for piece in text.split(BREAK) if piece for token in self._whole.text_to_ids(piece)]

    def ids_to_text(self, ids: list[int], remove_special_tokens: bool = True) -> str:
        """Returns the text of ids."""
        if len(ids) > _FEW:
            return self._whole.ids_to_text(ids, remove_special_tokens=remove_special_tokens)
        key = (remove_special_tokens, *ids)
        if key not in self._texts:
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            self._texts[key] = self._whole.ids_to_text(ids, remove_special_tokens=remove_special_tokens)
        return self._texts[key]

    def __getattr__(self, name: str) -> Any:
        if name in ("_whole", "_texts"):  # not there yet while it is being unpickled
            raise AttributeError(name)
        return getattr(self._whole, name)
