"""Written chats about spoken commands, for ``vtb synth speech`` to speak: the command is a sentence of its own.

Answers follow from the utterance's slots, so that code can check them.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

from said import command_domain as domain

# Where a chat's own sentence is put.
SENTENCE = "{sentence}"


def written_chat(utterance: Mapping[str, Any], rng: Random) -> tuple[str, str]:
    """Draws a user turn that holds the utterance as a sentence of its own, and its answer.

    Args:
        utterance: A row with ``form``, ``text`` and ``slots``.
        rng: Source of randomness.
    """
    template, answer = rng.choice(_tasks(utterance))
    text = utterance["text"]
    return template.replace(SENTENCE, f"{text[0].upper()}{text[1:]}."), answer


def _tasks(utterance: Mapping[str, Any]) -> list[tuple[str, str]]:
    text, words = utterance["text"], utterance["text"].split()
    tasks = [
        ("Write this in capital letters. {sentence}", text.upper()),
        ("Put these words in quotes. {sentence}", f'"{text}"'),
        ("The first word is hello. {sentence} Write all of the words.", f"hello {text}"),
    ]
    if utterance["form"] == "sum":
        tasks += [("{sentence} What is the result?", utterance["slots"]["result"])] * 3
    months = [word for word in words if word in domain.MONTHS]
    tasks.append(("Is there a month in these words? {sentence} Answer yes or no.", "yes" if months else "no"))
    colours = [word for word in words if word in domain.COLOURS]
    tasks.append(("Is there a color in these words? {sentence} Answer yes or no.", "yes" if colours else "no"))
    return tasks
