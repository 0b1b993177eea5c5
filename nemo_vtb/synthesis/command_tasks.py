"""What can be asked about a spoken command: question answering, translation, and turns whose words are partly spoken.

Answers follow from the utterance's slots, so every one can be checked by code. ``<audio>`` marks the clip in a prompt.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

from nemo_vtb.synthesis import command_domain as domain

CLIP = "<audio>"
_PLACES = ("first", "second", "third")


def spoken_question(utterance: Mapping[str, Any], rng: Random) -> tuple[str, str] | None:
    """Draws a question about an utterance.

    Args:
        utterance: A row with ``form``, ``text`` and ``slots``.
        rng: Source of randomness.

    Returns:
        ``(prompt with the clip, answer)``, or None where the form leaves nothing to ask.
    """
    choices = _questions(utterance)
    if not choices:
        return None
    question, answer = rng.choice(choices)
    prompt = f"{CLIP} {question}" if rng.random() < 0.7 else f"{question} {CLIP}"
    return prompt, answer


def mixed_prompt(
    utterance: Mapping[str, Any], rng: Random, replies: Mapping[str, list[tuple[str, str]]]
) -> tuple[str, str, bool] | None:
    """Draws a user turn of written and spoken words.

    Args:
        utterance: A row with ``form``, ``text`` and ``slots``.
        rng: Source of randomness.
        replies: ``{word: (prompt with {word}, reply)}``: the untouched LLM's own replies to the written prompt.

    Returns:
        ``(prompt with the clip, answer, whether code can check it)``, or None where nothing fits.
    """
    if utterance["form"] == "word":
        if not replies.get(utterance["text"]):
            return None
        template, reply = rng.choice(replies[utterance["text"]])
        return template.format(word=CLIP), reply, False
    prompt, answer = rng.choice(_mixed_tasks(utterance))
    return prompt, answer, True


def _questions(utterance: Mapping[str, Any]) -> list[tuple[str, str]]:
    form, slots = utterance["form"], utterance["slots"]
    if form == "numbers":
        numbers = slots["numbers"]
        return [
            *((f"What is the {place} number?", number) for place, number in zip(_PLACES, numbers, strict=False)),
            ("What is the last number?", numbers[-1]),
        ]
    if form == "command":
        asked = [("Which object is named?", slots["object"]), ("What should be done with it?", slots["action"])]
        if "colour" in slots:
            asked.append(("Which color is it?", slots["colour"]))
        if "room" in slots:
            asked.append(("Which room is meant?", slots["room"]))
        return asked
    if form == "date":
        return [
            ("Which month is it?", slots["month"]),
            ("Which day of the week is it?", slots["day"]),
            ("Which day of the month is it?", slots["ordinal"]),
        ]
    if form == "call":
        return [("Who should be called?", slots["name"]), ("On which day?", slots["day"])]
    if form == "words":
        return [("What is the first word?", slots["words"][0]), ("What is the last word?", slots["words"][-1])]
    return []


def _mixed_tasks(utterance: Mapping[str, Any]) -> list[tuple[str, str]]:
    text, words = utterance["text"], utterance["text"].split()
    tasks = [
        (f"Write {CLIP} in capital letters.", text.upper()),
        (f"Put these words in quotes: {CLIP}", f'"{text}"'),
        (f"The first word is hello. The other words are {CLIP}. Write all of them.", f"hello {text}"),
    ]
    if utterance["form"] == "sum":
        tasks += [(f"What is {CLIP}?", utterance["slots"]["result"])] * 3
    months = [word for word in words if word in domain.MONTHS]
    tasks.append((f"Answer yes or no. Is there a month in {CLIP}?", "yes" if months else "no"))
    colours = [word for word in words if word in domain.COLOURS]
    tasks.append((f"Answer yes or no. Is there a color in {CLIP}?", "yes" if colours else "no"))
    return tasks
