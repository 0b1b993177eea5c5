"""Sentences and lists of words that are chosen for their words: a word that nobody has spoken cannot be heard.

Most sentences people write hold the same few thousand words. What is chosen here holds each of the others a few times,
and each word that is one token of the LLM, whose embedding frames are to meet.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

from said.open_sentences import of_known_licence, raw_sentences
from said.words import english_words

# How often each word should be spoken, if the texts have it so often.
_TIMES = 6
# Below that, a word of the LLM stands in lists.
_LISTED_BELOW = 3
_WORDS_A_LIST = (4, 7)
# What a voice can say as a word.
_TOKEN = re.compile(r"[Ġ ▁]([A-Za-z][a-z]*[aeiouy][a-z]*)")
_SHORTEST = 3


def broad_sentences(folder: Path, spoken: Iterable[str], tokens: Iterable[str], count: int, seed: int) -> list[str]:
    """Chooses sentences for their rare words, then makes lists of those of the LLM's words that are rare even so.

    Args:
        folder: Of the asset ``english-texts``.
        spoken: Sentences that are spoken already, and those that are held out.
        tokens: Of the LLM, as its vocabulary writes them: a leading space or what stands for one begins a word.
        count: Sentences and lists.
        seed: Of the order, the lists and who is chosen among equals.

    Returns:
        ``count`` of them, or fewer, mixed.
    """
    rng, spoken = Random(seed), set(spoken)
    found = set().union(*raw_sentences(folder).values())
    candidates = sorted(of_known_licence(folder, sorted(found)) - spoken)
    rng.shuffle(candidates)
    frequency = Counter(word for sentence in candidates for word in english_words(sentence))
    known = _words_of(tokens)
    # A word that stands once in all texts and is no word of the LLM's is a slip of the pen or a name.
    candidates = [s for s in candidates if all(frequency[word] > 1 or word in known for word in english_words(s))]
    candidates.sort(key=lambda sentence: min(frequency[word] for word in english_words(sentence)))
    seen = Counter(word for sentence in spoken for word in english_words(sentence))
    chosen: list[str] = []
    for times in range(1, _TIMES + 1):
        left = []
        for sentence in candidates:
            if any(seen[word] < min(times, frequency[word]) for word in english_words(sentence)):
                chosen.append(sentence)
                seen.update(english_words(sentence))
            else:
                left.append(sentence)
        candidates = left
    lists = _lists([word for word in sorted(known) if seen[word] < _LISTED_BELOW], rng)
    chosen = [*lists, *chosen[: max(count - len(lists), 0)]][:count]
    rng.shuffle(chosen)
    return chosen


def _lists(words: list[str], rng: Random) -> list[str]:
    rng.shuffle(words)
    made, start = [], 0
    while start < len(words):
        end = start + rng.randint(*_WORDS_A_LIST)
        said = ", ".join(words[start:end])
        made.append(f"{said[0].upper()}{said[1:]}.")
        start = end
    return made


def _words_of(tokens: Iterable[str]) -> set[str]:
    found = (_TOKEN.fullmatch(token) for token in tokens)
    return {match[1].lower() for match in found if match and len(match[1]) >= _SHORTEST}
