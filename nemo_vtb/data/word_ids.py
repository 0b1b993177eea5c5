"""Token ids word by word: a word that was seen before is not tokenised again.

Most of a fast tokenizer's time goes into taking a text apart, row after row into the same words; batches of rows are
taken apart no faster. Byte-level BPE never joins a word with what stands before its space, so the ids of a text are
those of its pieces, each begun by the space of a word. Tokenizers that see a text as a whole (SentencePiece) are left
alone.
"""

import json
import re
from itertools import chain
from typing import Any

# Before the one space in front of a word.
_CUT = re.compile(r"(?<=\S)(?= [A-Za-z])")
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
        self._known: dict[str, list[int]] = {}

    def __call__(self, text: str) -> list[int]:
        """Returns the ids of a text, none added."""
        pieces = _CUT.split(text)
        try:
            return list(chain.from_iterable(map(self._known.__getitem__, pieces)))
        except KeyError:
            return list(chain.from_iterable(map(self._ids, pieces)))

    def _ids(self, piece: str) -> list[int]:
        if piece in self._known:
            return self._known[piece]
        ids = self._backend.encode(piece, add_special_tokens=False).ids
        if len(piece) <= _LONGEST:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[piece] = ids
        return ids


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
