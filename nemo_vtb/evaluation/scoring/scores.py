"""Scores of answers against references."""

from collections.abc import Sequence
from functools import cache
from typing import Any

_DIGITS = dict(zip("0123456789", "zero one two three four five six seven eight nine".split(), strict=True))


@cache
def _normaliser() -> Any:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer(remove_diacritics=True)


def normalise(text: str) -> str:
    """Whisper's language-independent normaliser, then lone digits as words: what a listener cannot hear goes."""
    return " ".join(_DIGITS.get(word, word) for word in _normaliser()(text).split())


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Edits over reference words after normalisation, by NeMo's counter; above 1 when much is inserted.

    Raises:
        ValueError: If the lists differ in length.
    """
    from nemo.collections.asr.metrics.wer import word_error_rate as nemo_wer

    return nemo_wer([normalise(h) for h in hypotheses], [normalise(r) for r in references])


def exact_match(references: Sequence[str], answers: Sequence[str], verbatim: bool = False) -> list[bool]:
    """Whether each answer equals its reference, by default after normalisation."""
    clean = str.strip if verbatim else normalise
    return [clean(answer) == clean(reference) for reference, answer in zip(references, answers, strict=True)]
