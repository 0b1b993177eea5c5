"""Speaks the sets of the long study that are spoken and not shipped, in four voices that training never hears.

    python examples/corpora/build_spoken_sets.py --out runs/study_data/spoken

``instructions.jsonl``: 300 prompts with a checked instruction, to be asked written, spoken, and half and half.
``known_words.jsonl``: prompts about spoken commands, wholly spoken, of words that occur in training.
``conversations.jsonl``: 420 scripted conversations with 1,260 checked later turns, written and spoken ones in turn.

The clips are made by Kokoro-82M. Deterministic; clips that exist are kept, so it resumes, and ``--part 0/2`` with
``--part 1/2`` share the work; whoever speaks the last clip writes the rows.
"""

import argparse
import json
import os
from hashlib import blake2b
from pathlib import Path

import soundfile
from asked.mixed_conversations import conversations
from asked.spoken_prompts import spoken_prompts
from build_spoken_commands import HELD_OUT_VOICES, trimmed
from tqdm import tqdm

SAMPLE_RATE = 16_000


def main() -> None:
    """Speaks what is missing and, once every clip is there, writes the rows."""
    from nemo_vtb.whole_files import write_rows

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1")
    args = parser.parse_args()
    sets = {"instructions": _instructions(), "known_words": _known_words(), "conversations": _conversations()}
    clips = {turn["value"]: turn for rows in sets.values() for row in rows for turn in _spoken(row)}
    part, parts = map(int, args.part.split("/"))
    for name, turn in tqdm(sorted(clips.items())[part::parts], unit="clip"):
        speak_to(args.out / name, turn["text"], f"kokoro:{turn.pop('voice')}")
    if not all((args.out / name).exists() for name in clips):
        print(f"clips of the other parts are missing in {args.out}")
        return
    seconds = {name: round(soundfile.info(args.out / name).duration, 3) for name in clips}
    for name, rows in sets.items():
        for row in rows:
            for turn in _spoken(row):
                turn.pop("voice", None)
                turn["duration"] = seconds[turn["value"]]
        write_rows(args.out / f"{name}.jsonl", rows)
    print(
        f"{sum(map(len, sets.values()))} rows, {len(clips)} clips, {sum(seconds.values()) / 60:.0f} min in {args.out}"
    )


def speak_to(path: Path, text: str, voice: str, speed: float = 1.0, pitch: float = 1.0) -> None:
    """Speaks a sentence into a FLAC file, unless that exists."""
    from nemo_vtb.synthesis.voices.light import speak

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    audio = trimmed(speak(text, voice, speed, pitch, SAMPLE_RATE))
    soundfile.write(partial, audio, SAMPLE_RATE, format="FLAC")
    os.replace(partial, path)


def fingerprint(row: dict) -> str:
    """Of all that a clip is made of, for its name: one of other words or another room is another clip."""
    return blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=4).hexdigest()


def _spoken(row: dict) -> list[dict]:
    return [turn for turn in row["conversations"] if turn["type"] == "audio"]


def _clip(text: str, number: int) -> dict:
    """The turn of a clip that is named by what is said and by whom."""
    voice = HELD_OUT_VOICES[number % len(HELD_OUT_VOICES)]
    name = blake2b(text.encode(), digest_size=8).hexdigest()
    return {"from": "User", "type": "audio", "value": f"audio/{voice}/{name}.flac", "text": text, "voice": voice}


def _text(who: str, said: str) -> dict:
    return {"from": who, "type": "text", "value": said}


def _instructions() -> list[dict]:
    rows = []
    for number, (name, task, demand, check) in enumerate(spoken_prompts()):
        turns = [_clip(task, number), _clip(demand, number), _text("Assistant", "")]
        rows.append({"id": f"instruction/{name}", "conversations": turns, "custom": {"check": check}})
    return rows


def _known_words() -> list[dict]:
    from nemo_vtb.parts.spoken_spans import sentences
    from nemo_vtb.paths import corpora_dir

    rows = []
    path = corpora_dir() / "spoken_commands" / "chats.jsonl"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        chat = json.loads(line)
        if chat["split"] == "test_new_voice":
            asked, answered = (turn["value"] for turn in chat["conversations"])
            said = [_clip(asked[start:end], number) for start, end in sentences(asked)]
            check = {"type": "verbatim", "answer": answered}
            turns = [*said, _text("Assistant", answered)]
            rows.append({"id": f"known/{chat['id']}", "conversations": turns, "custom": {"check": check}})
    return rows


def _conversations() -> list[dict]:
    rows = []
    for number, (name, turns, spoken) in enumerate(conversations()):
        made = []
        for (said, answer, _), aloud in zip(turns, spoken, strict=True):
            made += [_clip(said, number) if aloud else _text("User", said), _text("Assistant", answer)]
        custom = {"checks": [check for *_, check in turns], "pattern": name.partition("/")[0]}
        rows.append({"id": f"conversation/{name}", "conversations": made, "custom": custom})
    return rows


if __name__ == "__main__":
    main()
