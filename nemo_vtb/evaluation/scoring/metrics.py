"""Scores of single answers as sums that add up: word and character errors, exact match and token F1."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from nemo_vtb.evaluation.scoring.bootstrap import Sums, shares
from nemo_vtb.parts.words import characters_apart

# Written without spaces, so that an error of a word is one of a character, as in the Whisper paper (appendix C).
_BY_CHARACTER = frozenset({"zh", "yue", "ja", "th", "lo", "my"})
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)
# Vowels of Hebrew and Arabic, which are written or not as one likes.
_POINTS = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")


def normaliser_name(language: str) -> str:
    """Which of Whisper's normalisers a language has."""
    return "EnglishTextNormalizer" if language == "en" else "BasicTextNormalizer, marks preserved"


@cache
def normaliser(language: str) -> Callable[[str], str]:
    """Whisper's normaliser of a language.

    The English one also writes numbers and contractions alike, and takes hesitations away; the basic one takes case,
    symbols and what stands in brackets away. As in the paper it would put a space in the place of every vowel sign of
    Hindi, Tamil or Thai too, so that words fell apart and a wrong vowel was none: here they stay.
    """
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    if language == "en":
        return EnglishTextNormalizer()
    basic = BasicTextNormalizer(split_letters=language in _BY_CHARACTER)
    basic.clean = _without_symbols
    return basic


def _without_symbols(text: str) -> str:
    """Whisper's, but for the marks: those of a letter stay with it, points that may be left out go."""
    composed = unicodedata.normalize("NFKC", text)
    return "".join(" " if unicodedata.category(char)[0] in "SP" else char for char in _POINTS.sub("", composed))


def word_errors(references: Sequence[str], answers: Sequence[str], language: str) -> Sums:
    """Edits and reference words of each utterance after normalisation: their ratio is the word error rate."""
    clean = normaliser(language)
    return _errors([clean(text).split() for text in references], [clean(text).split() for text in answers])


def character_errors(references: Sequence[str], answers: Sequence[str], language: str) -> Sums:
    """Edits and reference characters of each utterance after normalisation, spaces between words included."""
    clean = normaliser(language)
    return _errors(
        [list(" ".join(clean(text).split())) for text in references],
        [list(" ".join(clean(text).split())) for text in answers],
    )


def squad_normalise(text: str) -> str:
    """SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no punctuation, no articles, single spaces.

    In other scripts as MLQA has it (Lewis et al. 2020): the punctuation of all languages, and characters as words where
    these are written without spaces.
    """
    known = unicodedata.normalize("NFKC", text).lower()
    kept = (char for char in known if char not in _PUNCTUATION and not unicodedata.category(char).startswith("P"))
    return " ".join(characters_apart(_ARTICLES.sub(" ", "".join(kept))).split())


def squad_exact(references: Sequence[Sequence[str]], answers: Sequence[str]) -> Sums:
    """Whether an answer is one of its references after SQuAD's normalisation.

    Args:
        references: Those that count as right, for each answer.
        answers: What was said.
    """
    return shares([max(_exact(r, answer) for r in right) for right, answer in zip(references, answers, strict=True)])


def squad_f1(references: Sequence[Sequence[str]], answers: Sequence[str]) -> Sums:
    """F1 over tokens after SQuAD's normalisation, with the reference that fits best."""
    return shares([max(_f1(r, answer) for r in right) for right, answer in zip(references, answers, strict=True)])


def _errors(references: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> Sums:
    from kaldialign import edit_distance

    rows = [[edit_distance(r, a)["total"], len(r)] for r, a in zip(references, answers, strict=True)]
    return Sums(np.asarray(rows, dtype=np.float64).reshape(-1, 2))


def _exact(reference: str, answer: str) -> float:
    return float(squad_normalise(reference) == squad_normalise(answer))


def _f1(reference: str, answer: str) -> float:
    wanted, said = squad_normalise(reference).split(), squad_normalise(answer).split()
    common = sum((Counter(wanted) & Counter(said)).values())
    # No word on either side: as SQuAD's second version has it for questions without an answer.
    return 2 * common / (len(wanted) + len(said)) if wanted and said else float(wanted == said)


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
