"""Scripts of conversations whose later turns can only be answered with what was said or written before.

Twelve patterns, each with several wordings of every turn, none of which occurs in training, where all speech is of
single turns; nor do they ask for the forms that training's chats ask for (capitals, quotes, yes or no). Which turns are
spoken and which are written is drawn for each conversation.
"""

from collections.abc import Iterator, Sequence
from random import Random

Check = dict | list[dict] | None
# What the user says, the reference answer, its check.
Turn = tuple[str, str, Check]
NAMES = "Anna Peter Maria John Lucy David Nina Oscar Laura Simon Clara Martin".split()
CITIES = "Paris London Rome Berlin Madrid Vienna Dublin Oslo Lisbon Boston Chicago Toronto".split()
THINGS = "apples bread milk cheese eggs rice soap candles flowers tomatoes paper sugar".split()
ANIMALS = "dog cat horse rabbit parrot goat".split()
PETS = "Max Bella Rocky Daisy Charlie Molly".split()
COLOURS = "black white brown grey red green".split()
ROOMS = "kitchen bedroom bathroom garage garden office".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
WORDS = "river window pencil garden mountain letter bottle candle mirror basket ticket hammer".split()
RIDES = "train bus car plane bicycle boat".split()
FOODS = "soup pizza fish salad chocolate mushrooms onions coffee".split()
CAPITALS = dict(zip(
    "France Germany Italy Spain Japan Russia Greece Egypt".split(),
    "Paris Berlin Rome Madrid Tokyo Moscow Athens Cairo".split(), strict=True))  # fmt: skip
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
EACH = 35


def named(*phrases: str, but: Sequence[str] = ()) -> list[dict]:
    """One of the phrases is named, and none of the others."""
    return [{"type": "contains", "any": list(phrases)}, *([{"type": "lacks", "any": list(but)}] if but else [])]


def number_named(number: int) -> list[dict]:
    return named(str(number), NUMBERS[number])


def conversations(seed: int = 0) -> Iterator[tuple[str, list[Turn], list[bool]]]:
    """Yields a name, the turns, and which of them are spoken: at least one is, and at least one is not."""
    for pattern in PATTERNS:
        for number in range(EACH):
            rng = Random(f"{seed}/{pattern.__name__}/{number}")
            turns = pattern(rng)
            spoken = [rng.random() < 0.5 for _ in turns]
            if len(set(spoken)) == 1:
                place = rng.randrange(len(turns))
                spoken[place] = not spoken[place]
            yield f"{pattern.__name__}/{number}", turns, spoken


def name(rng: Random) -> list[Turn]:
    (mine, other), city = rng.sample(NAMES, 2), rng.choice(CITIES)
    told = rng.choice((f"My name is {mine} and I live in {city}.", f"I am {mine} and my home is in {city}."))
    return [
        (told, f"Nice to meet you, {mine}.", None),
        (rng.choice(("What is my name?", "Do you know my name?")), mine, named(mine)),
        (rng.choice(("Which city do I live in?", "Where do I live?")), city, named(city)),
        (f"Is my name {mine} or {other}?", mine, named(mine, but=[other])),
    ]


def shopping(rng: Random) -> list[Turn]:
    one, two, three, other = rng.sample(THINGS, 4)
    told = rng.choice((f"I want to buy {one}, {two} and {three}.", f"My shopping list is {one}, {two} and {three}."))
    return [
        (told, "All right.", None),
        (
            rng.choice(("What comes first on my list?", "What is the first thing I named?")),
            one,
            named(one, but=[two, three]),
        ),
        (rng.choice(("And the last one?", "What did I name last?")), three, named(three, but=[one, two])),
        (f"Do I want {two} or {other}?", two, named(two, but=[other])),
    ]


def remember(rng: Random) -> list[Turn]:
    kept, (first, second) = rng.randint(3, 12), (rng.randint(1, 4), rng.randint(1, 4))
    return [
        (
            rng.choice((f"Please remember the number {NUMBERS[kept]}.", f"Keep the number {NUMBERS[kept]} in mind.")),
            "I will.",
            None,
        ),
        (f"What is {NUMBERS[first]} plus {NUMBERS[second]}?", str(first + second), number_named(first + second)),
        (
            rng.choice(("Which number should you remember?", "Which number did I ask you to keep?")),
            str(kept),
            number_named(kept),
        ),
        ("Add one to that number. What do you get?", str(kept + 1), number_named(kept + 1)),
    ]


def pet(rng: Random) -> list[Turn]:
    animal, colour, called = rng.choice(ANIMALS), rng.choice(COLOURS), rng.choice(PETS)
    told = rng.choice((f"I have a {colour} {animal} called {called}.", f"My {colour} {animal} has the name {called}."))
    return [
        (told, "How nice.", None),
        (rng.choice(("What animal do I have?", "Which animal is it?")), animal, named(animal)),
        (rng.choice(("What is it called?", "What is its name?")), called, named(called)),
        (rng.choice(("Which color does it have?", "What color is it?")), colour, named(colour)),
    ]


def correction(rng: Random) -> list[Turn]:
    room, instead = rng.sample(ROOMS, 2)
    return [
        (rng.choice((f"Please turn on the lamp in the {room}.", f"I need more light in the {room}.")), "Done.", None),
        (rng.choice(("Which room did I name?", "Which room do I mean?")), room, named(room)),
        (f"No, I mean the {instead}. Which room do I mean now?", instead, named(instead, but=[room])),
        ("Which room did I name at first?", room, named(room, but=[instead])),
    ]


def capital(rng: Random) -> list[Turn]:
    (one, first), (two, second) = rng.sample(list(CAPITALS.items()), 2)
    return [
        (f"What is the capital of {one}?", first, named(first)),
        (rng.choice((f"And the capital of {two}?", f"And what about {two}?")), second, named(second)),
        (
            rng.choice(("Which city did you name last?", "Say your last answer again.")),
            second,
            named(second, but=[first]),
        ),
        (f"Which country did I ask about first, {one} or {two}?", one, named(one, but=[two])),
    ]


def words(rng: Random) -> list[Turn]:
    one, two, three = rng.sample(WORDS, 3)
    told = rng.choice(
        (f"Here are three words: {one}, {two}, {three}.", f"My three words are {one}, {two} and {three}.")
    )
    return [
        (told, "I see.", None),
        (
            rng.choice(("Repeat the three words.", "Say these words again.")),
            f"{one}, {two}, {three}",
            {"type": "contains", "all": [one, two, three]},
        ),
        ("What is the second word?", two, named(two, but=[one, three])),
        (rng.choice(("Which word comes third?", "And the third word?")), three, named(three, but=[one, two])),
    ]


def meeting(rng: Random) -> list[Turn]:
    day, who, (hour, other) = rng.choice(DAYS), rng.choice(NAMES), rng.sample(range(2, 12), 2)
    told = rng.choice(
        (f"I have a meeting with {who} on {day} at {NUMBERS[hour]}.", f"On {day} at {NUMBERS[hour]} I meet {who}.")
    )
    return [
        (told, "Noted.", None),
        (rng.choice(("On which day is the meeting?", "Which day is it?")), day, named(day)),
        (rng.choice(("Who will I meet?", "Whom do I meet?")), who, named(who)),
        (
            f"Is it at {NUMBERS[hour]} or at {NUMBERS[other]}?",
            NUMBERS[hour],
            [
                {"type": "contains", "any": [NUMBERS[hour], str(hour)]},
                {"type": "lacks", "any": [NUMBERS[other], str(other)]},
            ],
        ),
    ]


def journey(rng: Random) -> list[Turn]:
    who, city, ride = rng.choice(NAMES), rng.choice(CITIES), rng.choice(RIDES)
    told = rng.choice((f"{who} went to {city} by {ride}.", f"Last week {who} took the {ride} to {city}."))
    return [
        (told, "Interesting.", None),
        (rng.choice(("Where did this person go?", "Which city is it about?")), city, named(city)),
        ("How did this person travel?", ride, named(ride)),
        (rng.choice(("What is the name of the person?", "Who went there?")), who, named(who)),
    ]


def taste(rng: Random) -> list[Turn]:
    liked, disliked = rng.sample(FOODS, 2)
    return [
        (
            rng.choice((f"I like {liked} but I do not like {disliked}.", f"I love {liked} and I hate {disliked}.")),
            "I see.",
            None,
        ),
        ("Which food do I like?", liked, named(liked, but=[disliked])),
        (
            rng.choice(("And which one do I not like?", "Which food is bad for me?")),
            disliked,
            named(disliked, but=[liked]),
        ),
        (f"Do I prefer {disliked} or {liked}?", liked, named(liked, but=[disliked])),
    ]


def ages(rng: Random) -> list[Turn]:
    (one, two), (old, young) = rng.sample(NAMES, 2), sorted(rng.sample(range(3, 15), 2), reverse=True)
    return [
        (f"{one} is {NUMBERS[old]} years old and {two} is {NUMBERS[young]}.", "I see.", None),
        (f"How old is {two}?", str(young), number_named(young)),
        (f"Who is older, {one} or {two}?", one, named(one, but=[two])),
        (f"And how old is {one}?", str(old), number_named(old)),
    ]


def choice(rng: Random) -> list[Turn]:
    one, two, three = rng.sample(CITIES, 3)
    return [
        (f"I will travel to {one} in May and to {two} in June.", "Have a good trip.", None),
        ("Where will I be in May?", one, named(one, but=[two])),
        ("And in June?", two, named(two, but=[one])),
        (f"Did I mention {three} or {one}?", one, named(one, but=[three])),
    ]


PATTERNS = (
    name,
    shopping,
    remember,
    pet,
    correction,
    capital,
    words,
    meeting,
    journey,
    taste,
    ages,
    choice,
)
