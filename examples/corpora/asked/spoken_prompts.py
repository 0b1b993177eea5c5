"""Prompts with an instruction that code can check, to be spoken and to be written: 300 of twelve kinds.

Each has a task and a demand on the form of the answer, a sentence each, so that either may be spoken. Training holds
no demand of these kinds: its chats ask for capitals, quotes and yes or no, so these are not among them.
"""

from collections.abc import Iterator
from random import Random

TOPICS = (
    "the sea",
    "a small cat",
    "winter mornings",
    "old bridges",
    "the moon",
    "a busy market",
    "fresh bread",
    "tall trees",
    "a long train ride",
    "the first day of school",
    "a summer storm",
    "mountain villages",
    "a good friend",
    "city parks",
    "a quiet library",
    "wild horses",
    "a birthday party",
    "the desert",
    "a football game",
    "strong coffee",
    "a small island",
    "night trains",
    "a broken clock",
    "autumn leaves",
    "the circus",
)
ANIMALS = "cat horse owl rabbit tiger wolf".split()
FRUITS = "apple plum cherry banana peach lemon".split()
FIRST = "Today Maybe Once Sometimes Often Yesterday".split()
LAST = "blue home cold again tomorrow slowly".split()
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}
LISTED = "animals fruits colors cities sports vegetables".split()
EACH = 25


def spoken_prompts(seed: int = 0) -> Iterator[tuple[str, str, str, dict | list[dict]]]:
    """Yields a name, the task, the demand and the check."""
    rng = Random(seed)
    for number in range(EACH):
        topic = TOPICS[number]
        animal, fruit = rng.choice(ANIMALS), rng.choice(FRUITS)
        first, last = rng.choice(FIRST), rng.choice(LAST)
        word, count = rng.choice(list(NUMBERS.items()))
        tell, sentence = f"Tell me something about {topic}.", f"Write one sentence about {topic}."
        made: dict[str, tuple[str, str, dict | list[dict]]] = {
            "lower_case": (sentence, "Use lower case letters only.", {"type": "lower_case"}),
            "short": (tell, "Use at most ten words.", {"type": "words", "at_least": 2, "at_most": 10}),
            "one_word": (
                f"Which word comes to your mind when you think of {topic}?",
                "Answer with a single word.",
                {"type": "words", "exactly": 1},
            ),
            "long": (tell, "Use at least thirty words.", {"type": "words", "at_least": 30}),
            "starts_with": (
                sentence,
                f"Begin your answer with the word {first}.",
                {"type": "starts_with", "text": first},
            ),
            "ends_with": (sentence, f"End your answer with the word {last}.", {"type": "ends_with", "text": last}),
            "contains": (
                sentence,
                f"Use the words {animal} and {fruit}.",
                {"type": "contains", "all": [animal, fruit]},
            ),
            "lacks": (
                tell,
                "Do not use the word the.",
                [{"type": "lacks", "any": ["the"]}, {"type": "words", "at_least": 3}],
            ),
            "no_comma": (tell, "Do not use any commas.", [{"type": "no_comma"}, {"type": "words", "at_least": 8}]),
            "bullets": (
                f"Name {word} {LISTED[number % len(LISTED)]}.",
                "Write one a line and begin each line with a dash.",
                {"type": "bullets", "exactly": count},
            ),
            "lines": (
                f"Name {word} things that belong to {topic}.",
                "Write each of them on its own line.",
                {"type": "lines", "exactly": count},
            ),
            "ending": (tell, "Finish your answer with a question mark.", {"type": "regex", "pattern": r"\?$"}),
        }
        for name, (task, demand, check) in made.items():
            yield f"{name}/{number}", task, demand, check
