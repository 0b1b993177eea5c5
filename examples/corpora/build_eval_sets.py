"""Writes the sets of `vtb eval` that are not in the corpora themselves, from held-out clips of the corpora.

    python examples/corpora/build_eval_sets.py --kokoro FOLDER

Rows are NeMo multimodal_conversation rows; what code checks stands in `custom.check`, or in `custom.checks` with one
entry for each answer. Clips are those of the test splits: nobody trained on their words, nor on the four voices of the
spoken commands. Only `spoken_instructions.jsonl` has audio of its own, spoken by the same four voices; clips that exist
already are kept. Deterministic.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from random import Random

import soundfile
from asked.scripted_conversations import scripted_conversations
from asked.text_prompts import text_prompts
from build_spoken_commands import SAMPLE_RATE, trimmed
from said import command_domain as domain
from scipy.signal import resample_poly

from nemo_vtb.whole_files import write_rows

CORPORA = Path(__file__).parent
OUT = CORPORA / "eval_sets"
WOMEN = ("af_bella", "bf_emma")
VOICES = ("af_bella", "am_michael", "bf_emma", "bm_george")


def read(corpus: str, split: str, **only: str) -> list[dict]:
    """Rows of a corpus' manifest, with paths as seen from the folder of the sets."""
    rows = map(json.loads, (CORPORA / corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    picked = (row for row in rows if row["split"] == split and all(row[key] == value for key, value in only.items()))
    return [{**row, "audio_filepath": f"../{corpus}/{row['audio_filepath']}"} for row in picked]


def clip(row: dict) -> dict:
    """The turn of a clip."""
    spoken = {"value": row["audio_filepath"], "duration": row["duration"], "text": row["text"]}
    return {"from": "User", "type": "audio", **spoken}


def conversation(name: str, turns: list[str | dict], answer: str, check: dict | list[dict], **fields: str) -> dict:
    """A row of one exchange; texts in `turns` are written words."""
    written = [{"from": "User", "type": "text", "value": turn} if isinstance(turn, str) else turn for turn in turns]
    said = {"from": "Assistant", "type": "text", "value": answer}
    return {"id": name, **fields, "conversations": [*written, said], "custom": {"check": check}}


def stem(row: dict) -> str:
    return Path(row["audio_filepath"]).stem


def output_formats(rows: list[dict]) -> list[dict]:
    """Five output formats that no training prompt asks for, on six clips each."""
    words = [row for row in rows if row["form"] in ("words", "command", "numbers")]
    made = []
    for number, row in enumerate(Random(21).sample(words, 30)):
        text, listed = row["text"], row["text"].split()
        heard = {"type": "contains", "any": [text]}
        name, ask, answer, check = [
            ("json", 'Transcribe the audio as a JSON object with the key "text".', json.dumps({"text": text}),
             [{"type": "json", "keys": ["text"]}, heard]),
            ("bullets", "List the words you hear, one a line, each line beginning with a dash.",
             "\n".join(f"- {word}" for word in listed),
             [{"type": "bullets", "exactly": len(listed)}, {"type": "contains", "all": listed}]),
            ("stars", "Write what is said between stars, like *this*.", f"*{text}*",
             [{"type": "regex", "pattern": r"^\*[^*]+\*$"}, heard]),
            ("over", 'Transcribe the audio and end with the word "over".', f"{text} over",
             [{"type": "ends_with", "text": "over"}, heard]),
            ("heard", 'Transcribe the audio. Begin with the word "heard".', f"heard {text}",
             [{"type": "starts_with", "text": "heard"}, heard]),
        ][number % 5]  # fmt: skip
        made.append(conversation(f"format/{name}/{stem(row)}", [ask, clip(row)], answer, check, probe="output_formats"))
    return made


def two_clips(rows: list[dict]) -> list[dict]:
    """Two clips in one turn: which object was named first, and which second."""
    rng = Random(22)
    commands = [row for row in rows if row["form"] == "command"]
    made = []
    while len(made) < 24:
        first, second = rng.sample(commands, 2)
        objects = [first["slots"]["object"], second["slots"]["object"]]
        if objects[0] == objects[1]:
            continue
        for place, (wanted, other) in {"first": objects, "second": objects[::-1]}.items():
            check = [{"type": "contains", "any": [wanted]}, {"type": "lacks", "any": [other]}]
            turns = [clip(first), clip(second), f"Which object is named in the {place} recording?"]
            name = f"two_clips/{stem(first)}/{stem(second)}/{place}"
            made.append(conversation(name, turns, wanted, check, probe="two_clips"))
    return made


def two_speakers(rows: list[dict]) -> list[dict]:
    """A woman and a man, in either order: what one of them says."""
    rng = Random(23)
    commands = [row for row in rows if row["form"] == "command"]
    women = [row for row in commands if row["speaker"] in WOMEN]
    men = [row for row in commands if row["speaker"] not in WOMEN]
    made: dict[str, dict] = {}
    drawn = 0
    while drawn < 24:
        said = {"woman": rng.choice(women), "man": rng.choice(men)}
        objects = {who: row["slots"]["object"] for who, row in said.items()}
        if objects["woman"] == objects["man"]:
            continue
        order = ["woman", "man"] if drawn % 4 < 2 else ["man", "woman"]
        for who, other in (("woman", "man"), ("man", "woman")):
            check = [{"type": "contains", "any": [objects[who]]}, {"type": "lacks", "any": [objects[other]]}]
            turns = [*(clip(said[one]) for one in order), f"Which object does the {who} name?"]
            name = f"two_speakers/{'/'.join(stem(said[one]) for one in order)}/{who}"
            made[name] = conversation(name, turns, objects[who], check, probe="two_speakers")
            drawn += 1
    return list(made.values())


def biasing() -> list[dict]:
    """A word that is rare in training, asked for without and with a list of words that may occur."""
    rng = Random(24)
    known = Counter(word for row in read("asterisk_prompts", "train", lang="en") for word in plain(row["text"]))
    rows = [row for row in read("asterisk_prompts", "test", lang="en") if row["duration"] < 8]
    rare = {row["key"]: min(plain(row["text"]), key=lambda word: (known[word], word)) for row in rows}
    made: list[dict] = []
    for row in rows:
        word = rare[row["key"]]
        others = sorted({other for other in rare.values() if other not in plain(row["text"])})
        listed = sorted([word, *rng.sample(others, 4)])
        check, name = {"type": "contains", "any": [word]}, f"biasing/{row['key']}"
        plainly = ["Transcribe the audio.", clip(row)]
        helped = [f"These words may occur: {', '.join(listed)}. Transcribe the audio.", clip(row)]
        made.append(conversation(name, plainly, row["text"], check, probe="biasing_without_list"))
        made.append(conversation(name, helped, row["text"], check, probe="biasing_with_list"))
    return made


def plain(text: str) -> list[str]:
    """Words of five letters or more."""
    return [word for word in "".join(c if c.isalpha() else " " for c in text.lower()).split() if len(word) > 4]


def unseen_direction() -> list[dict]:
    """English clips with the French text of their key: no shipped data translates in this direction."""
    french = {row["key"]: row["text"] for row in read("asterisk_prompts", "test", lang="fr")}
    return [
        {**row, "id": f"en-fr/{row['key']}", "target_lang": "fr", "answer": french[row["key"]]}
        for row in read("asterisk_prompts", "test", lang="en")
        if row["key"] in french
    ]


def instructed(rows: list[dict]) -> dict[str, list[tuple[dict, str, dict | list[dict]]]]:
    """Instructions with the clips they are asked about, the answers and the checks, eight of each."""
    rng = Random(25)
    short = [row for row in rows if len(row["text"].split()) <= 6]
    with_colour = [row for row in short if set(row["text"].split()) & set(domain.COLOURS)]
    without = [row for row in short if row not in with_colour]
    by_form = {form: [row for row in short if row["form"] == form] for form in ("command", "date", "words", "numbers")}
    listed = by_form["words"] + by_form["numbers"]

    def exactly(text: str) -> dict:
        return {"type": "exact", "answer": text}

    return {
        "Write these words in capital letters.": [
            (row, row["text"].upper(), [{"type": "capitals"}, exactly(row["text"])]) for row in rng.sample(short, 8)
        ],
        "Put these words in quotes.": [
            (row, f'"{row["text"]}"', [{"type": "quotes"}, exactly(row["text"])]) for row in rng.sample(short, 8)
        ],
        "What is the first word?": [
            (row, row["text"].split()[0], exactly(row["text"].split()[0])) for row in rng.sample(listed, 8)
        ],
        "Is there a color in these words? Answer yes or no.": [
            (row, answer, {"type": "choice", "answer": answer, "options": ["yes", "no"]})
            for answer, group in (("yes", with_colour), ("no", without))
            for row in rng.sample(group, 4)
        ],
        "Which object is named?": [
            (row, row["slots"]["object"], exactly(row["slots"]["object"])) for row in rng.sample(by_form["command"], 8)
        ],
        "Which month is it?": [
            (row, row["slots"]["month"], exactly(row["slots"]["month"])) for row in rng.sample(by_form["date"], 8)
        ],
    }


def spoken_instructions(rows: list[dict], kokoro: str | None) -> list[dict]:
    """An instruction and what it is about, both spoken by one voice."""
    (OUT / "audio").mkdir(exist_ok=True)
    made = []
    for number, (instruction, asked) in enumerate(instructed(rows).items()):
        for row, answer, check in asked:
            path = OUT / "audio" / f"instruction{number}_{row['speaker']}.ogg"
            if not path.exists():
                speak(instruction, row["speaker"], path, kokoro)
            duration = round(soundfile.info(path).duration, 3)
            told = clip({"audio_filepath": f"audio/{path.name}", "duration": duration, "text": instruction})
            name = f"spoken_instruction{number}/{stem(row)}"
            made.append(conversation(name, [told, clip(row)], answer, check))
    return made


def speak(text: str, voice: str, path: Path, kokoro: str | None) -> None:
    if kokoro is None:
        raise SystemExit(f"{path} is missing: give --kokoro")
    from nemo_vtb.synthesis.voices.kokoro import KOKORO_SAMPLE_RATE, Kokoro

    audio = trimmed(resample_poly(Kokoro(kokoro, threads=1)(text, voice), SAMPLE_RATE, KOKORO_SAMPLE_RATE))
    soundfile.write(path, audio, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kokoro", help="folder with kokoro-int8.onnx, vocab.json and voices/")
    args = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    commands = read("spoken_commands", "test_new_voice")
    prompts = read("asterisk_prompts", "test", lang="en")
    write_rows(OUT / "multiturn.jsonl", scripted_conversations(commands, prompts))
    write_rows(
        OUT / "probes.jsonl", [*output_formats(commands), *two_clips(commands), *two_speakers(commands), *biasing()]
    )
    write_rows(OUT / "unseen_direction.jsonl", unseen_direction())
    write_rows(OUT / "spoken_instructions.jsonl", spoken_instructions(commands, args.kokoro))
    write_rows(OUT / "instructions.jsonl", text_prompts())


if __name__ == "__main__":
    main()
