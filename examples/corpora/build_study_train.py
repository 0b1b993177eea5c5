"""Makes what the long study trains on and the repository does not ship: open speech, replay, and spoken replay.

    python examples/corpora/build_study_train.py --out runs/study_data/train

``open.jsonl``: English sentences in 13 light voices, none of an encyclopedia or of a chat that is held out.
``replay.jsonl``: what people ask, answered by the LLM itself, so that its own answers are what text turns and spoken
turns teach.
``bank.jsonl``: the sentences of the replay's users and of the written chats about spoken commands, for ``speak``; all
of a turn is spoken by one voice, so that whole turns can be spoken. Deterministic; what exists is kept, so it resumes,
and ``--part 0/2`` with ``--part 1/2`` share the speaking.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import soundfile
from build_spoken_sets import fingerprint, speak_to
from build_text_battery import held_out_text
from said.chats import chats, solved_problems
from said.open_sentences import of_known_licence, open_sentences, raw_sentences, rows_of
from tqdm import tqdm

# Engine and voice, the pitches that make further speakers of it, and how often it speaks.
VOICES = {
    "hibari:heart": ((0.9, 1.0, 1.1), 0.4),
    "flite:slt": ((0.9, 1.0, 1.1), 0.2),
    "flite:rms": ((0.9, 1.0, 1.1), 0.2),
    "flite:awb": ((0.9, 1.0, 1.1), 0.15),
    "flite:kal16": ((1.0,), 0.05),
}
DEV = 120
CHATS, PROBLEMS, BANKING = 500, 250, 250
# Demands that no held-out instruction makes.
DEMANDS = ("", "", "Answer in one sentence.", "Be brief.", "Explain it simply.", "Answer as a friend would.")
LONGEST = 64
# For the card of a model that is trained on it.
CARD = """---
license: [mit, cc-by-4.0, apache-2.0]
language: [en]
---

Made by examples/corpora/build_study_train.py. Texts of chitchat-dataset and GSM8K (MIT) and Banking77 (CC BY 4.0);
answers by SmolLM2-135M-Instruct (Apache-2.0); synthetic voices.
"""


def main() -> None:
    """Makes what is missing; the rows are written by whoever makes the last clip."""
    from nemo_vtb.assets import resolve
    from nemo_vtb.whole_files import write_rows

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4000, help="sentences of open speech")
    parser.add_argument("--llm", default="smollm2-135m-instruct", help="what answers the replay")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    texts = Path(resolve("english-texts"))
    args.out.mkdir(parents=True, exist_ok=True)
    replay = args.out / "replay.jsonl"
    if not replay.exists():
        rows = answered(list(prompts(texts, args.seed)), args.llm)
        partial = replay.with_suffix(f".{os.getpid()}")
        write_rows(partial, rows)
        os.replace(partial, replay)
    held_out = held_out_text(texts)
    drawn = open_sentences(texts, 2 * args.count, args.seed)
    known = of_known_licence(texts, drawn)
    articles = raw_sentences(texts)["wikipedia"]
    fresh = [s for s in drawn if s in known - articles and s.rstrip(".").lower() not in held_out]
    rng = Random(f"{args.seed}/voices")
    rows = {
        "open": spoken_rows("open", [(text, drawn_voice(rng)) for text in fresh[: args.count]], args.seed),
        "bank": spoken_rows("bank", list(bank_sentences(replay, args.seed)), args.seed),
    }
    every = [row for found in rows.values() for row in found]
    part, parts = map(int, args.part.split("/"))
    for row in tqdm(every[part::parts], unit="clip"):
        voice, pitch = row["speaker"].split("@")
        speak_to(args.out / row["audio_filepath"], row["text"], voice, row["speed"], float(pitch))
    if not all((args.out / row["audio_filepath"]).exists() for row in every):
        print(f"clips of the other parts are missing in {args.out}")
        return
    for row in every:
        row["duration"] = round(soundfile.info(args.out / row["audio_filepath"]).duration, 3)
    for name, found in rows.items():
        write_rows(args.out / f"{name}.jsonl", found)
    (args.out / "README.md").write_text(CARD, encoding="utf-8")
    hours = sum(row["duration"] for row in every) / 3600
    print(f"{len(every)} clips, {hours:.1f} h, {len(replay.read_text().splitlines())} replies in {args.out}")


def prompts(texts: Path, seed: int) -> Iterator[tuple[str, str]]:
    """Yields names and what people asked: the openings of chats, word problems, questions to a bank."""
    rng, held_out = Random(seed), held_out_text(texts)
    sources = {
        "chat": ([row["conversations"][0]["value"] for row in chats(texts)], CHATS),
        "problem": ([row["conversations"][0]["value"] for row in solved_problems(texts)], PROBLEMS),
        "banking": ([row["input"][-1]["content"] for row in rows_of(texts / "banking77.jsonl")], BANKING),
    }
    for name, (asked, count) in sources.items():
        fresh = sorted({text for text in asked if 3 <= len(text.split()) <= 45 and text.lower() not in held_out})
        for number, text in enumerate(rng.sample(fresh, min(count, len(fresh)))):
            text = text if text.endswith((".", "?", "!")) else f"{text}."
            yield f"{name}/{number}", f"{text} {rng.choice(DEMANDS)}".strip()


def answered(asked: list[tuple[str, str]], llm: str) -> list[dict]:
    """Rows with the LLM's own greedy answers; those that are cut off or empty are left out."""
    from nemo_vtb.inference.llms.choose import open_llm
    from nemo_vtb.inference.llms.interface import Sampling

    model = open_llm({"model": llm, "backend": "hf", "batch_size": 32})
    rows = []
    for start in tqdm(range(0, len(asked), 32), unit="batch", desc="replay"):
        part = asked[start : start + 32]
        told = [[{"role": "user", "content": text}] for _, text in part]
        for (name, text), reply in zip(part, model.chat(told, [Sampling(max_tokens=LONGEST)] * len(part)), strict=True):
            if reply.finished and reply.text.strip():
                turns = [("User", text), ("Assistant", reply.text.strip())]
                said = [{"from": who, "type": "text", "value": value} for who, value in turns]
                rows.append({"id": f"replay/{name}", "conversations": said, "custom": {"lang": "en", "model": llm}})
    return rows


def drawn_voice(rng: Random) -> tuple[str, float]:
    """A voice and a pitch of it."""
    voice = rng.choices(list(VOICES), [share for _, share in VOICES.values()])[0]
    return voice, rng.choice(VOICES[voice][0])


def bank_sentences(replay: Path, seed: int) -> Iterator[tuple[str, tuple[str, float]]]:
    """Yields what the replay's users and the written chats about commands say, with the voice of each turn."""
    from nemo_vtb.parts.spoken_spans import sentences
    from nemo_vtb.paths import corpora_dir

    lines = (corpora_dir() / "spoken_commands" / "chats.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [chat for chat in map(json.loads, lines) if chat["split"] == "train"]
    asked += map(json.loads, replay.read_text(encoding="utf-8").splitlines())
    seen = set()
    for chat in asked:
        voice = drawn_voice(Random(f"{seed}/{chat['id']}"))
        for turn in chat["conversations"]:
            if turn["from"] == "User":
                for start, end in sentences(turn["value"]):
                    said = turn["value"][start:end], voice
                    if said not in seen:
                        seen.add(said)
                        yield said


def spoken_rows(name: str, said: list[tuple[str, tuple[str, float]]], seed: int) -> list[dict]:
    """Manifest rows without durations; the last ``DEV`` of the open ones are held out."""
    rng = Random(f"{seed}/{name}")
    rows = []
    for number, (text, (voice, pitch)) in enumerate(said):
        dev = name == "open" and number >= len(said) - DEV
        row = {
            "text": text,
            "lang": "en",
            "speaker": f"{voice}@{pitch}",
            "speed": round(rng.uniform(0.9, 1.1), 2),
            "split": "dev" if dev else "train",
        }
        rows.append({"audio_filepath": f"{name}/{number // 1000:02d}/{number:05d}_{fingerprint(row)}.flac", **row})
    return rows


if __name__ == "__main__":
    main()
