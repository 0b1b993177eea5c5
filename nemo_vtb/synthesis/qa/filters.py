"""Why a pair of question and answer is unfit: pure functions on texts."""

import re
from collections import Counter
from collections.abc import Sequence

from nemo_vtb.parts.words import split_words, stands_for_word
from nemo_vtb.synthesis.language import is_other_language
from nemo_vtb.synthesis.qa.options import QAFilters
from nemo_vtb.synthesis.qa.prompts import Pair, QAPrompt
from nemo_vtb.synthesis.turn_filters import is_looping

# What the paper tells the LLM to reply to a transcript that makes no sense, and what LLMs make of that.
_NOTHING = frozenset({"none", "null", "n a", "na", "unknown", "not specified", "not mentioned", "no answer"})
_META = re.compile(r"transcript|\bjson\b|as an ai\b|language model", re.IGNORECASE)
_MARKUP = re.compile(r"```|</?\w+>|<\|?\w+\|?>")
# Whoever answers in so many words should have put them together, not copied them.
_LONG = 8
# Shorter words join others in most languages, and stand in most texts; numbers never do.
_JOINING = 3


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation; of Chinese and the like, the characters."""
    return split_words(text)


def pair_fault(pair: Pair, transcript: str, language: str, prompt: QAPrompt, filters: QAFilters) -> str | None:
    """Returns the name of what makes a pair unfit, or None.

    ``none`` is the paper's mark of a transcript without sense; ``question.*`` and ``answer.*`` name the part:
    ``length``, ``language``, ``meta`` talks about how it was made, ``markup``, ``repetition``; ``question.no_question``
    asks nothing; ``answer.in_question`` needs no recording, ``answer.unsupported`` has other words than the transcript,
    ``answer.copied`` is the transcript.

    Args:
        pair: What the LLM wrote.
        transcript: Of the recording.
        language: ISO 639-1 code of the wanted one.
        prompt: What it was asked; of unanswerable questions there is no answer to look at.
        filters: Limits.
    """
    parts = {"question": pair.question} if prompt.refusals else {"question": pair.question, "answer": pair.answer}
    limits = {"question": filters.question_words, "answer": filters.answer_words}
    if any(" ".join(words(text)) in _NOTHING for text in parts.values()):
        return "none"
    for part, text in parts.items():
        fewest, most = limits[part]
        if not fewest <= len(words(text)) <= most:
            return f"{part}.length"
        if _MARKUP.search(text):
            return f"{part}.markup"
        if _META.search(text):
            return f"{part}.meta"
        if is_looping(text):
            return f"{part}.repetition"
    if not pair.question.rstrip().endswith(("?", "？", "؟", ";")):
        return "question.no_question"
    if is_other_language(pair.question, language):
        return "question.language"
    return None if prompt.refusals else _answer_fault(pair, transcript, prompt, filters)


def _answer_fault(pair: Pair, transcript: str, prompt: QAPrompt, filters: QAFilters) -> str | None:
    answer, asked, said = words(pair.answer), words(pair.question), words(transcript)
    if prompt.extractive and not _stands_in(answer, said):
        return "answer.not_a_span"
    if len(answer) >= _LONG and shared(said, answer) >= filters.copied:
        return "answer.copied"
    if _stands_in(answer, asked):
        return "answer.in_question"
    telling = [word for word in answer if _tells(word) or len(answer) < _JOINING]
    telling = [word for word in telling if word not in asked] or telling or answer
    return "answer.unsupported" if shared(telling, said) < filters.support else None


def _tells(word: str) -> bool:
    """Whether a word says something of its own: it is long, a number, or a character that stands for a word."""
    return len(word) > _JOINING or word.isdigit() or stands_for_word(word)


def shared(these: Sequence[str], those: Sequence[str]) -> float:
    """The share of some words, each as often as it stands there, that others have too."""
    return sum((Counter(these) & Counter(those)).values()) / len(these) if these else 0.0


def agree(one: str, other: str) -> bool:
    """Whether two answers say the same: the F1 of their words is 0.5 or more."""
    these, those = words(one), words(other)
    both = sum((Counter(these) & Counter(those)).values())
    return 2 * both >= 0.5 * (len(these) + len(those)) and both > 0


def _stands_in(part: Sequence[str], whole: Sequence[str]) -> bool:
    return f" {' '.join(part)} " in f" {' '.join(whole)} "
