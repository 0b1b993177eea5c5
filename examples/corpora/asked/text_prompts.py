"""Written prompts with verifiable instructions, three of each of twelve kinds."""

TOPICS = ("the sea", "a small cat", "winter mornings")
ANIMALS, FRUITS, CITIES = ("cat", "horse", "owl"), ("apple", "plum", "cherry"), ("Paris", "Rome", "Berlin")


def text_prompts() -> list[dict]:
    """Rows of a text suite: `id`, `prompt`, `check` and `category`."""
    prompts = {
        "capitals": [
            (f"Write one sentence about {topic} in capital letters only.", [{"type": "capitals"}]) for topic in TOPICS
        ],
        "lower_case": [
            (f"Write one sentence about {topic} in lower case letters only, without any capital letter.",
             [{"type": "lower_case"}])
            for topic in TOPICS
        ],
        "quotes": [
            (f"Give me a title for a story about {topic}. Put it in double quotes and write nothing else.",
             [{"type": "quotes"}])
            for topic in TOPICS
        ],
        "words": [
            (f"Describe {topic} in exactly {count} words.", [{"type": "words", "exactly": count}])
            for topic, count in zip(TOPICS, (3, 4, 5), strict=True)
        ],
        "short": [
            (f"Say something about {topic} in at most ten words.", [{"type": "words", "at_least": 2, "at_most": 10}])
            for topic in TOPICS
        ],
        "starts_with": [
            (f'Write one sentence about {topic}. Begin with the word "{word}".',
             [{"type": "starts_with", "text": word}])
            for topic, word in zip(TOPICS, ("Today", "Maybe", "Once"), strict=True)
        ],
        "ends_with": [
            (f'Write one sentence about {topic}. The last word must be "{word}".',
             [{"type": "ends_with", "text": word}])
            for topic, word in zip(TOPICS, ("blue", "home", "cold"), strict=True)
        ],
        "contains": [
            (f"Write one sentence that has the words {one} and {other} in it.",
             [{"type": "contains", "all": [one, other]}])
            for one, other in zip(ANIMALS, FRUITS, strict=True)
        ],
        "lacks": [
            (f"Write one sentence about {city} without the word city.",
             [{"type": "contains", "any": [city]}, {"type": "lacks", "any": ["city", "cities"]}])
            for city in CITIES
        ],
        "no_comma": [
            (f"Write two sentences about {topic}. Do not use any commas.",
             [{"type": "no_comma"}, {"type": "words", "at_least": 6}])
            for topic in TOPICS
        ],
        "json": [
            (f'Answer with a JSON object with the keys "name" and "{key}" about {animal}. Write nothing else.',
             [{"type": "json", "keys": ["name", key]}])
            for animal, key in (("a cat", "color"), ("a horse", "age"), ("an owl", "food"))
        ],
        "bullets": [
            (f"List {count} {things} one a line, each line beginning with a dash. Write nothing else.",
             [{"type": "bullets", "exactly": number}])
            for count, number, things in (("two", 2, "animals"), ("three", 3, "fruits"), ("four", 4, "colors"))
        ],
    }  # fmt: skip
    return [
        {"id": f"instructions/{category}/{number}", "prompt": prompt, "check": check, "category": category}
        for category, asked in prompts.items()
        for number, (prompt, check) in enumerate(asked)
    ]
