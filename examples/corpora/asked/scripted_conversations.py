"""Scripts of conversations whose later turns depend on earlier spoken and written ones; four of each pattern."""

from pathlib import Path
from random import Random

from said import command_domain as domain

Check = dict | list[dict] | None
# What the user says, written or as the row of a clip; the reference answer; its check.
Turn = tuple[list[str | dict], str, Check]
PER_PATTERN = 4


def exactly(text: str) -> dict:
    return {"type": "exact", "answer": text}


def named(*phrases: str, but: str = "") -> list[dict]:
    """One of the phrases is named, and another thing is not."""
    return [{"type": "contains", "any": list(phrases)}, *([{"type": "lacks", "any": [but]}] if but else [])]


def number_named(number: int) -> list[dict]:
    words = domain.NUMBERS[number : number + 1]
    return named(str(number), *words)


def scripted_conversations(commands: list[dict], prompts: list[dict]) -> list[dict]:
    """Rows of NeMo's multimodal_conversation with `custom.checks`, one for each answer or null.

    Args:
        commands: Rows of spoken commands.
        prompts: Rows of English telephone prompts.
    """
    rng = Random(31)
    by_form = {
        form: rng.sample(rows, len(rows))
        for form in ("command", "numbers", "sum", "date", "call", "words")
        for rows in [[row for row in commands if row["form"] == form]]
    }
    with_room = [row for row in by_form["command"] if "room" in row["slots"]]
    others = [row for row in by_form["command"] if row not in with_room[:PER_PATTERN]]
    spoken = rng.sample([row for row in prompts if 2 < row["duration"] < 5], PER_PATTERN)
    made = []
    for number in range(PER_PATTERN):
        named_first = with_room[number]["slots"]["object"]
        other = next(row for row in others if row["slots"]["object"] != named_first)
        others.remove(other)
        patterns = {
            "room": _room(with_room[number], rng),
            "name": _name(by_form["call"][number], rng),
            "remember": _remember(by_form["numbers"][number], rng),
            "rewrite": _rewrite(by_form["words"][number]),
            "two_clips": _two_clips(with_room[number], other),
            "sum": _sum(by_form["sum"][number]),
            "date": _date(by_form["date"][number], rng),
            "prompt": _prompt(spoken[number]),
        }
        made += [_row(f"multiturn/{name}/{number}", turns) for name, turns in patterns.items()]
    return made


def _room(row: dict, rng: Random) -> list[Turn]:
    room, thing = row["slots"]["room"], row["slots"]["object"]
    instead = rng.choice([other for other in domain.ROOMS if other != room])
    return [
        ([row, "Which room is meant?"], room, exactly(room)),
        (["And which object is named?"], thing, named(thing)),
        ([f"No, I mean the {instead}. Which room do I mean now?"], instead, named(instead, but=room)),
    ]


def _name(row: dict, rng: Random) -> list[Turn]:
    called = row["slots"]["name"]
    mine = rng.choice([name for name in domain.NAMES if name != called])
    return [
        ([f"Hello, my name is {mine.capitalize()}."], f"Hello, {mine.capitalize()}.", None),
        ([row, "Who should be called?"], called, exactly(called)),
        (["What is my name?"], mine.capitalize(), named(mine, but=called)),
    ]


def _remember(row: dict, rng: Random) -> list[Turn]:
    numbers = row["slots"]["numbers"]
    kept = rng.choice([number for number in domain.NUMBERS[2:10] if number not in numbers])
    return [
        ([f"Please remember the number {kept}."], "I will.", None),
        ([row, "What is the last number?"], numbers[-1], exactly(numbers[-1])),
        (["Which number did I ask you to remember?"], kept, number_named(domain.NUMBERS.index(kept))),
    ]


def _rewrite(row: dict) -> list[Turn]:
    text = row["text"]
    return [
        (["Transcribe the audio.", row], text, exactly(text)),
        (["Write it in capital letters."], text.upper(), [{"type": "capitals"}, exactly(text)]),
        (["Now put it in quotes."], f'"{text}"', [{"type": "quotes"}, exactly(text)]),
    ]


def _two_clips(row: dict, other: dict) -> list[Turn]:
    first, second = row["slots"]["object"], other["slots"]["object"]
    return [
        ([row, "Which object is named?"], first, exactly(first)),
        ([other, "And which one here?"], second, named(second, but=first)),
        (["Which object was named in the first recording?"], first, named(first, but=second)),
    ]


def _sum(row: dict) -> list[Turn]:
    result = int(row["slots"]["result"])
    return [
        (["What is", row, "?"], str(result), number_named(result)),
        (["Add one to that. What is the result?"], str(result + 1), number_named(result + 1)),
    ]


def _date(row: dict, rng: Random) -> list[Turn]:
    day, month = row["slots"]["day"], row["slots"]["month"]
    place = domain.MONTHS.index(month)
    following = domain.MONTHS[(place + 1) % 12]
    options = rng.sample([month, following], 2)
    return [
        ([row, "Which month is it?"], month, exactly(month)),
        (["And which day of the week?"], day, named(day)),
        ([f"Did I say {options[0]} or {options[1]}?"], month, named(month, but=following)),
    ]


def _prompt(row: dict) -> list[Turn]:
    words = [word.strip(".,!?").lower() for word in row["text"].split()]
    asked = max(words, key=len)
    choice = {"type": "choice", "options": ["yes", "no"]}
    return [
        (["Transcribe the audio.", row], row["text"], {"type": "contains", "any": [asked]}),
        ([f"Did it say {asked}? Answer yes or no."], "yes", {**choice, "answer": "yes"}),
        (["Did it say elephant? Answer yes or no."], "no", {**choice, "answer": "no"}),
    ]


def _row(name: str, script: list[Turn]) -> dict:
    turns = []
    for said, answer, _ in script:
        for part in said:
            if isinstance(part, str):
                turns.append({"from": "User", "type": "text", "value": part})
            else:
                clip = {"value": part["audio_filepath"], "duration": part["duration"], "text": part["text"]}
                turns.append({"from": "User", "type": "audio", **clip})
        turns.append({"from": "Assistant", "type": "text", "value": answer})
    clips = [Path(part["audio_filepath"]).stem for said, _, _ in script for part in said if isinstance(part, dict)]
    custom = {"checks": [check for *_, check in script], "clips": clips}
    return {"id": name, "conversations": turns, "custom": custom}
