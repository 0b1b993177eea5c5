"""Texts that say nearly the same."""

import math
import re
from collections import Counter
from collections.abc import Sequence


def words_of(text: str) -> frozenset[str]:
    """Returns the distinct words of ``text``, lower case; two turns with the same words count as the same turn."""
    return frozenset(re.findall(r"\w+", text.lower()))


def near_duplicates(texts: Sequence[str], overlap: float) -> dict[int, int]:
    """Finds texts of which an earlier one has nearly the same words.

    Exact, yet few pairs are compared: two sets that overlap enough share one of their rarest words (prefix filtering,
    Bayardo et al., "Scaling up all pairs similarity search", 2007).

    Args:
        texts: In the order of preference.
        overlap: Jaccard overlap of two texts' words from which the later one is a duplicate; above 0, up to 1.

    Returns:
        The place of each duplicate, and of the earliest kept text that it repeats.
    """
    keys = [words_of(text) for text in texts]
    count = Counter(word for key in keys for word in key)
    found: dict[int, int] = {}
    with_word: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        rarest = sorted(key, key=lambda word: (count[word], word))
        rarest = rarest[: len(key) - math.ceil(overlap * len(key)) + 1]
        near = (
            other
            for other in sorted({other for word in rarest for other in with_word.get(word, ())})
            if len(key & keys[other]) >= overlap * len(key | keys[other])
        )
        first = next(near, None)
        if first is not None:
            found[place] = first
            continue
        for word in rarest:
            with_word.setdefault(word, []).append(place)
    return found
