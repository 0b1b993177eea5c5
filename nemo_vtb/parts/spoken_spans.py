"""Which sentences of a turn are spoken: the paper's rule, whoever speaks them.

A turn of n sentences gives min(n, 2) variants, and in each one contiguous run of sentences is spoken, its beginning
drawn from 0 to n-1 and its end from behind the beginning to n (the paper's released script, research of section 2).
Here runs are limited to sentences that can be spoken, and more runs and more turns are options.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class SpeakRule:
    """What of a conversation is spoken.

    Attributes:
        variants: Versions of a conversation at most, never more than it has sentences.
        max_spans: Runs of sentences spoken in a turn, at most; at least one written sentence stands between two.
        max_turns: User turns with something spoken, at most.
    """

    variants: int = 2
    max_spans: int = 1
    max_turns: int = 1

    def variants_of(self, sentences: int) -> int:
        """How many versions a conversation of so many sentences has."""
        return min(self.variants, sentences or 1)

    def draw_turns(self, asked: Sequence[int], random: Random) -> tuple[list[int], int]:
        """Draws which user turns are spoken.

        Args:
            asked: The user's turns.
            random: Source of chance.

        Returns:
            All of them in the order in which they are tried, and how many are wanted.
        """
        return random.sample(asked, len(asked)), random.randint(1, min(self.max_turns, len(asked)))

    def draw_runs(
        self, sentences: int, ends: Callable[[int], Collection[int]], random: Random
    ) -> Iterator[tuple[int, int]]:
        """Draws the runs of a turn.

        Args:
            sentences: How many it has.
            ends: Where a run that begins at a sentence may end; nowhere if that sentence cannot be spoken.
            random: Source of chance; the caller may draw from it between two runs.

        Yields:
            First sentence and the one behind the last, in the turn's order; none where nothing can be spoken.
        """
        wanted, position = random.randint(1, self.max_spans), 0
        for _ in range(wanted):
            possible = {start: ends(start) for start in range(position, sentences)}
            starts = [start for start, found in possible.items() if found]
            if not starts:
                return
            start = random.choice(starts)
            end = random.choice(sorted(possible[start]))
            yield start, end
            position = end + 1


def pieces(
    text: str, split: Sequence[tuple[int, int]], runs: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, int | None]]:
    """Cuts a turn into what stays written and what is spoken.

    Args:
        text: The turn.
        split: Characters of each sentence.
        runs: First sentence of each run and the one behind its last, in order.

    Yields:
        A piece and the number of its run; None for what stays written, white space around it left out.
    """
    position = 0
    for number, (first, last) in enumerate(runs):
        start, end = split[first][0], split[last - 1][1]
        if before := text[position:start].strip():
            yield before, None
        yield text[start:end], number
        position = end
    if after := text[position:].strip():
        yield after, None


def sentences(text: str, language: str = "en") -> list[tuple[int, int]]:
    """Splits a text where sentences and paragraphs end.

    Args:
        text: Any text.
        language: ISO 639-1 code; abbreviations differ between languages.

    Returns:
        ``(start, end)`` characters of each sentence, white space around it left out. What holds no letter or digit is
        no sentence.
    """
    from sentencex import segment

    found = []
    start = 0
    for part in segment(language, text):
        end = start + len(part)
        if any(character.isalnum() for character in part):
            found.append((start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())))
        start = end
    return found
