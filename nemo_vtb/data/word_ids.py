"""Token ids word by word: a word that was seen before is not tokenised again.

Most of a fast tokenizer's time goes into taking a text apart, row after row into the same words; batches of rows are
taken apart no faster. Byte-level BPE never joins a word with what stands before its space, so the ids of a text are
those of its pieces, each begun by the space of a word. Tokenizers that see a text as a whole (SentencePiece) are left
alone.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

# Before the one space in front of a word, a number or a sign. Signs beyond ASCII may join what stands before them.
_CUT = re.compile(r"(?<=\S)(?= [!-~])")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# The patterns of Llama 3 (numbers by threes) and of Qwen 2 (digit by digit).
_PATTERNS = {
    _CONTRACTIONS + rf"|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for number in (r"\p{N}{1,3}", r"\p{N}")
}
_LONGEST = 64
_KEPT = 1 << 16


class WordIds:
    """Encodes texts with a memory of words.

    Args:
        backend: A tokenizer of the ``tokenizers`` library, one that ``splits_at_words``.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._known = _Pieces(backend)
        self._behind_space = _BehindSpace(self._known)

    def __call__(self, text: str) -> list[int]:
        """Returns the ids of a text, none added."""
        return list(chain.from_iterable(self._ids(text)))

    def count(self, text: str) -> int:
        """Returns how many ids a text has."""
        return sum(map(len, self._ids(text)))

    def _ids(self, text: str) -> Iterable[list[int]]:
        """The ids of the pieces of a text."""
        first, *others = text.split(" ")
        if first[-1:].strip() or not others:
            # Most texts have nothing but words between single spaces, which are found without a regular expression.
            with suppress(_JoinedError):
                return [self._known[first], *map(self._behind_space.__getitem__, others)]
        return map(self._known.__getitem__, _CUT.split(text))

    def whole(self, text: str) -> list[int]:
        """Returns the ids of a text that is taken apart by the tokenizer alone."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def begins_apart(self, text: str) -> bool:
        """Whether a text begins with a token of its own, whatever words stand before it."""
        own = self._added()
        first = max((token for token in own if text.startswith(token)), key=len, default=None)
        return first is not None and not any(first[0] in token[1:] for token in own)

    def ends_apart(self, text: str) -> bool:
        """Whether a text ends with a token of its own, whatever words stand behind it."""
        own = self._added()
        last = max((token for token in own if text.endswith(token)), key=len, default=None)
        return last is not None and not any(last[-1] in token[:-1] for token in own)

    def _added(self) -> list[str]:
        return [token.content for token in self._backend.get_added_tokens_decoder().values()]


class _JoinedError(Exception):
    """A word and what stands beside it may have ids together."""


class _Memory(dict[str, list[int]]):
    """Ids by text; those of a short one are kept when they are first asked for."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source

    def _ids_of(self, text: str) -> list[int]:
        raise NotImplementedError

    def __missing__(self, text: str) -> list[int]:
        ids = self._ids_of(text)
        if len(text) <= _LONGEST:
            if len(self) >= _KEPT:
                self.clear()
            self[text] = ids
        return ids

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._source,)


class _Pieces(_Memory):
    """Ids of pieces; the source is the tokenizer."""

    def _ids_of(self, text: str) -> list[int]:
        return self._source.encode(text, add_special_tokens=False).ids


class _BehindSpace(_Memory):
    """Ids of words and the space before them, by word; the source has the pieces."""

    def _ids_of(self, text: str) -> list[int]:
        if not "!" <= text[:1] <= "~" or text[-1].isspace():
            raise _JoinedError
        return self._source[f" {text}"]


def splits_at_words(backend: Any) -> bool:
    """Whether the ids of a text are those of its pieces, for a tokenizer of the ``tokenizers`` library."""
    tokens = backend.get_added_tokens_decoder().values()
    if any(token.lstrip or token.rstrip or token.single_word for token in tokens):
        return False
    if any(token.content[:1].isspace() or _CUT.search(token.content) for token in tokens):
        return False
    normalizer = _settings(backend.normalizer)
    if normalizer is not None and normalizer["type"] != "NFC":
        return False
    if type(backend.model).__name__ != "BPE" or backend.model.dropout:
        return False
    before = _settings(backend.pre_tokenizer)
    if before is None:
        return False
    steps = before["pretokenizers"] if before["type"] == "Sequence" else [before]
    return all(map(_keeps_words, steps)) and any(map(_cuts_words, steps))


def _settings(part: Any) -> dict[str, Any] | None:
    return None if part is None else json.loads(part.__getstate__())


def _cuts_words(step: dict[str, Any]) -> bool:
    return step["type"] == "Split" or (step["type"] == "ByteLevel" and step["use_regex"])


def _keeps_words(step: dict[str, Any]) -> bool:
    if step["type"] == "Split":
        return step["pattern"].get("Regex") in _PATTERNS and step["behavior"] == "Isolated" and not step["invert"]
    return step["type"] == "Digits" or (step["type"] == "ByteLevel" and not step["add_prefix_space"])
