"""Lists of the words that people write most and that no sentence to be spoken holds often enough.

An adapter has to learn the embedding of every word by heart, and cannot from a clip or two. A list holds nothing but
such words, in another order and company each time.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

from said.open_sentences import raw_sentences

# How often each should be spoken, sentences included.
_TIMES = 12
_WORDS_A_LIST = (8, 14)
# A word that texts have less often is a slip of the pen or a name.
_WRITTEN = 3
_WORD = re.compile(r"[A-Za-z][A-Za-z']*[a-z]")


def word_lists(folder: Path, spoken: Iterable[str], held_out: Iterable[str], count: int, seed: int) -> list[str]:
    """Lists what is said too seldom, the most written words first.

    Args:
        folder: Of the asset ``english-texts``.
        spoken: Sentences that are spoken already.
        held_out: Sentences whose words are not counted as written.
        count: Lists; fewer come back when the texts have no more such words.
        seed: Of order and company.
    """
    rng = Random(seed)
    said = Counter(word.lower() for sentence in spoken for word in _WORD.findall(sentence))
    written, spelled = Counter(), Counter()
    for sentence in sorted(set().union(*raw_sentences(folder).values()).difference(held_out)):
        for number, word in enumerate(_WORD.findall(sentence)):
            written[word.lower()] += 1
            spelled[word] += number > 0  # the first word's capital says nothing
    wanted, slots = [], 0
    for word, times in written.most_common():
        if times < _WRITTEN or slots >= count * sum(_WORDS_A_LIST) / 2:
            break
        missing = _TIMES - said[word]
        if missing > 0:
            spelling = max((word, word.capitalize(), word.upper()), key=lambda form: spelled[form])
            wanted.append((spelling, missing))
            slots += missing
    lists: list[str] = []
    for time in range(_TIMES):
        left = [word for word, missing in wanted if missing > time]
        rng.shuffle(left)
        while left:
            length = rng.randint(*_WORDS_A_LIST)
            lists.append(" ".join(left[:length]))
            left = left[length:]
    rng.shuffle(lists)
    return [f"{line[0].upper()}{line[1:]}." for line in lists[:count]]
