"""Speaks open-vocabulary English for the reference run: many sentences, many voices, and questions about them.

    python examples/corpora/build_open_speech.py --out runs/open_speech

The clips are made, not shipped. Voice, speed and pitch are drawn per sentence; a changed pitch makes another speaker of
a voice. Beside the open ones stand ``--phone`` sentences of a telephone system, written by an LLM, and ``--broad``
sentences and lists with the words that those lack (``broad_sentences.py``) and ``--lists`` of the words people write
most and all of these say too seldom (``word_lists.py``); the English training prompts that a person read come back at
``VARIANTS`` of their speed. Some of what is trained on sounds in a room, or through noise
(``rooms.py``). Deterministic by ``--seed``; clips that exist are kept, so it resumes and a larger ``--count`` adds to
them; ``--part 0/2`` with ``--part 1/2`` share the work.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import soxr
from asked.open_questions import question_rows
from build_spoken_commands import HELD_OUT_VOICES, LEFT_OUT, trimmed
from build_spoken_sets import fingerprint
from rooms import SAMPLE_RATE, drawn_room, in_room, make_noises
from said.broad_sentences import broad_sentences
from said.open_sentences import of_known_licence, open_sentences
from said.phone_sentences import phone_sentences
from said.word_lists import word_lists
from tqdm import tqdm
from transformers import AutoTokenizer

from nemo_vtb.assets import resolve
from nemo_vtb.paths import corpora_dir
from nemo_vtb.synthesis.voices.kokoro import ENGLISH_VOICES
from nemo_vtb.synthesis.voices.light import speak

DEV = 160
POOL = 16_000
# Engine or voice -> share; Kokoro speaks best and slowest.
SHARES = {
    "hibari:heart": 0.36,
    "flite:slt": 0.19,
    "flite:rms": 0.19,
    "flite:awb": 0.19,
    "flite:kal16": 0.04,
    "kokoro": 0.03,
}
# Of the speed and pitch at which people read their prompts.
VARIANTS = (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)
# For the card of a model that is trained on it.
CARD = """---
license: [mit, cc-by-4.0, cc-by-sa-3.0, apache-2.0]
language: [en]
---

Made by examples/corpora/build_open_speech.py. Sentences of chitchat-dataset and GSM8K (MIT), Banking77 (CC BY 4.0),
the English Wikipedia (CC BY-SA 3.0) and SmolLM2-135M-Instruct (Apache-2.0), in synthetic voices; prompts of
asterisk-core-sounds-en (CC BY-SA 3.0) at other speeds.
"""


def plan(sentences: list[str], seed: int, domain: str = "open") -> list[dict]:
    """Returns manifest rows without durations; the last open ones go to voices that never speak in training."""
    rng = Random(seed)
    heard = [v for v in ENGLISH_VOICES if v not in (*HELD_OUT_VOICES, *LEFT_OUT)]
    rows = []
    kept = len(sentences) - (held_out(sentences) if domain == "open" else 0)
    for number, text in enumerate(sentences):
        dev = number >= kept
        voice = "kokoro" if dev else rng.choices(list(SHARES), list(SHARES.values()))[0]
        pitch = 1.0 if dev else round(rng.uniform(0.88, 1.14), 2)
        if voice == "kokoro":
            voice = f"kokoro:{rng.choice(HELD_OUT_VOICES if dev else heard)}"
        name = f"{'' if domain == 'open' else domain}{number:05d}_{voice.replace(':', '_')}"
        row = {
            "text": text,
            "lang": "en",
            "speaker": voice,
            "speed": round(rng.uniform(0.88, 1.12), 2),
            "split": "dev" if dev else f"train_{domain}",
            "custom": {"pitch": pitch, **({} if dev else drawn_room(rng))},
        }
        rows.append({"audio_filepath": f"audio/{number // 1000:02d}/{name}_{fingerprint(row)}.flac", **row})
    return rows


def held_out(sentences: list[str]) -> int:
    """How many of the open ones, from behind: a tenth of a short list."""
    return min(DEV, len(sentences) // 10)


def variants(corpus: Path, seed: int) -> list[dict]:
    """Returns manifest rows of people's English training prompts at other speeds; ``source`` is the recording."""
    rng, rows = Random(seed), []
    for line in (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        prompt = json.loads(line)
        if prompt["lang"] != "en" or prompt["split"] != "train":
            continue
        for speed in VARIANTS:
            row = {
                "text": prompt["text"],
                "lang": "en",
                "speaker": prompt["speaker"],
                "speed": speed,
                "split": "train_people",
                "source": prompt["audio_filepath"],
                "custom": drawn_room(rng),
            }
            rows.append({"audio_filepath": f"audio/people/{prompt['key']}_{speed}_{fingerprint(row)}.flac", **row})
    return rows


def audio_of(row: dict, corpus: Path) -> np.ndarray:
    """The samples of a row, ``(samples,)`` at ``SAMPLE_RATE``."""
    if "source" not in row:
        return trimmed(speak(row["text"], row["speaker"], row["speed"], row["custom"]["pitch"], SAMPLE_RATE))
    samples, rate = soundfile.read(corpus / row["source"], dtype="float32")
    return soxr.resample(samples, rate * row["speed"], SAMPLE_RATE)


def remembered(path: Path, make: Callable[[], list[str]]) -> list[str]:
    """The lines of a file, which is made first if it is not there."""
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text("\n".join(make()), encoding="utf-8")
        os.replace(partial, path)
    return path.read_text(encoding="utf-8").splitlines()


def main() -> None:
    """Speaks what is missing and writes the manifest once every clip is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--count", type=int, default=POOL, help=f"of {POOL} drawn sentences, how many to speak, {DEV} held out"
    )
    parser.add_argument("--sentences", type=Path, help="a file of your own, one sentence a line")
    parser.add_argument("--phone", type=int, default=1_500, help="sentences of a telephone system besides")
    parser.add_argument("--broad", type=int, default=10_000, help="sentences and lists of rare words besides")
    parser.add_argument("--lists", type=int, default=5_000, help="lists of words that all those say too seldom besides")
    parser.add_argument(
        "--llm", default="smollm2-135m-instruct", help="what writes the telephone's, and whose words are listed"
    )
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    texts = Path(resolve("english-texts"))
    if args.sentences:
        lines = args.sentences.read_text(encoding="utf-8").splitlines() if args.sentences.is_file() else []
        sentences = [line.strip() for line in lines if line.strip()]
        if not sentences:
            parser.error(f"--sentences {args.sentences}: no file with a sentence a line")
        spoken = set(sentences)
    else:
        sentences = open_sentences(texts, POOL, args.seed)
        spoken = of_known_licence(texts, sentences)
    corpus = corpora_dir() / "asterisk_prompts"
    rows = plan(sentences, args.seed)
    first = len(rows) - held_out(sentences)
    rows = [row for row in [*rows[first:], *rows[: min(first, max(args.count - DEV, 0))]] if row["text"] in spoken]
    make_noises(args.out / "noise", sentences[:1000], args.seed)
    if args.phone:
        phone = args.out / f"phone_{fingerprint({'count': args.phone, 'llm': args.llm, 'seed': args.seed})}.txt"
        said = remembered(phone, lambda: phone_sentences(corpus / "manifest.jsonl", args.llm, args.phone, args.seed))
        rows += plan(said, args.seed, "phone")
    rows += variants(corpus, args.seed)
    if args.broad:
        spoken = {row["text"] for row in rows}
        tokens = AutoTokenizer.from_pretrained(resolve(args.llm)).get_vocab()
        asked = {"count": args.broad, "llm": args.llm, "seed": args.seed, "spoken": sorted(spoken)}
        broad = args.out / f"broad_{fingerprint(asked)}.txt"
        said = remembered(broad, lambda: broad_sentences(texts, spoken, tokens, args.broad, args.seed))
        rows += plan(said, args.seed, "broad")
    if args.lists:
        dev = [row["text"] for row in rows if row["split"] == "dev"]
        heard = sorted(row["text"] for row in rows if row["split"] != "dev")
        listed = args.out / f"lists_{fingerprint({'count': args.lists, 'seed': args.seed, 'spoken': heard})}.txt"
        said = remembered(listed, lambda: word_lists(texts, heard, dev, args.lists, args.seed))
        rows += plan(said, args.seed, "lists")
    part, parts = map(int, args.part.split("/"))
    for row in tqdm(rows[part::parts], unit="clip"):
        path = args.out / row["audio_filepath"]
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        audio = in_room(audio_of(row, corpus), row["custom"], args.out / "noise")
        partial = path.with_suffix(".partial")
        soundfile.write(partial, audio, SAMPLE_RATE, format="FLAC")
        os.replace(partial, path)
    if not all((args.out / row["audio_filepath"]).exists() for row in rows):
        return
    for row in rows:
        row["duration"] = round(soundfile.info(args.out / row["audio_filepath"]).duration, 3)
    for name, made in (("sqa.jsonl", question_rows(rows, args.seed)), ("manifest.jsonl", rows)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
        (args.out / name).write_text(text, encoding="utf-8")
    (args.out / "README.md").write_text(CARD, encoding="utf-8")
    print(f"{len(rows)} clips, {sum(row['duration'] for row in rows) / 3600:.1f} h in {args.out}")


if __name__ == "__main__":
    main()
