"""Sums, and word problems in one or two steps with small numbers, as multiple choice."""

from collections.abc import Iterator
from random import Random

NAMES = ("Tom", "Anna", "Maria", "David", "Lucy", "Omar", "Nina", "Paul")
THINGS = ("apples", "books", "pencils", "stickers", "marbles", "eggs", "coins", "cards")
TEMPLATES = (
    ("more_of", "{n} has {a} {t} and gets {b} more. How many {t} does {n} have now?", lambda v: v["a"] + v["b"]),
    ("less", "{n} has {a} {t} and gives away {b} of them. How many {t} are left?", lambda v: v["a"] - v["b"]),
    ("rows", "There are {c} boxes with {b} {t} in each. How many {t} are there?", lambda v: v["b"] * v["c"]),
    (
        "share",
        "{n} shares {p} {t} equally among {c} friends. How many {t} does each friend get?",
        lambda v: v["p"] // v["c"],
    ),
    (
        "two",
        "{n} had {a} {t}, lost {b} and then found {c}. How many {t} does {n} have now?",
        lambda v: v["a"] - v["b"] + v["c"],
    ),
    (
        "more",
        "{n} has {b} {t}. {m} has {c} more than {n}. How many {t} do they have together?",
        lambda v: v["b"] + v["b"] + v["c"],
    ),
    ("price", "One of the {t} costs {c} dollars. How many dollars do {b} of them cost?", lambda v: v["b"] * v["c"]),
    (
        "change",
        "{n} pays {d} dollars with a {h} dollar bill. How many dollars does {n} get back?",
        lambda v: v["h"] - v["d"],
    ),
    ("time", "{n} reads {b} pages a day. How many pages does {n} read in {c} days?", lambda v: v["b"] * v["c"]),
    ("half", "{n} has {e} {t} and eats half of them. How many {t} are left?", lambda v: v["e"] // 2),
)


def word_problems(count: int, seed: int = 0) -> Iterator[dict]:
    """Yields rows of type ``choices``; wrong options are near the result or follow from another operation."""
    rng = Random(seed)
    seen: set[str] = set()
    while len(seen) < count:
        number = len(seen)
        name, text, formula = TEMPLATES[number % len(TEMPLATES)]
        a, b, c = rng.randint(8, 20), rng.randint(2, 7), rng.randint(2, 6)
        values = {"a": a, "b": b, "c": c, "p": b * c, "e": 2 * a, "h": rng.choice((10, 20, 50)), "d": rng.randint(2, 9)}
        first, other = rng.sample(NAMES, 2)
        prompt = text.format(n=first, m=other, t=rng.choice(THINGS), **values)
        if prompt in seen:
            continue
        seen.add(prompt)
        result = formula(values)
        near = [value for value in (a + b, abs(a - b), b * c, b + c, result + 1, result + 2, result - 1, result + 10)
                if value not in (result, 0) and value > 0]  # fmt: skip
        wrong = rng.sample(sorted(set(near)), 3)
        options = rng.sample([result, *wrong], 4)
        yield {
            "id": f"problem/{name}/{number}",
            "prompt": prompt,
            "options": [f"The answer is {option}." for option in options],
            "answer": options.index(result),
        }


def sums(count: int, seed: int = 0) -> Iterator[dict]:
    """Yields rows of type ``choices``: plain arithmetic and the order of numbers."""
    rng = Random(seed)
    seen: set[str] = set()
    while len(seen) < count:
        a, b = rng.randint(2, 20), rng.randint(2, 9)
        name, prompt, result = rng.choice((
            ("plus", f"What is {a} plus {b}?", a + b),
            ("minus", f"What is {a + b} minus {b}?", a),
            ("times", f"What is {b} times {a % 10 + 1}?", b * (a % 10 + 1)),
            ("after", f"Which number comes after {5 * a + b}?", 5 * a + b + 1),
            ("before", f"Which number comes before {5 * a + b}?", 5 * a + b - 1),
            ("half", f"What is half of {2 * a}?", a),
        ))  # fmt: skip
        if prompt in seen:
            continue
        seen.add(prompt)
        near = {result + 1, result - 1, result + 2, result + 10, abs(a - b), a + b + 3}
        wrong = rng.sample(sorted(value for value in near if value != result and value > 0), 3)
        options = rng.sample([result, *wrong], 4)
        yield {
            "id": f"sum/{name}/{len(seen) - 1}",
            "prompt": prompt,
            "options": [f"The answer is {option}." for option in options],
            "answer": options.index(result),
        }
