"""Speaks open-vocabulary English for the reference run: many sentences, many voices, a NeMo manifest.

    python examples/corpora/build_open_speech.py --out runs/open_speech

10,000 sentences take about one CPU hour, most of it Kokoro's, and 0.7 GB as FLAC; they are made, not shipped. Voice,
speed and pitch are drawn per sentence; a changed pitch makes another speaker of a voice. Deterministic by ``--seed``;
clips that exist are kept, so it resumes and a larger ``--count`` adds to them; ``--part 0/2`` with ``--part 1/2`` share
the work between two processes.
"""

import argparse
import json
import os
from pathlib import Path
from random import Random

import soundfile
from build_spoken_commands import HELD_OUT_VOICES, LEFT_OUT, trimmed
from open_sentences import open_sentences
from tqdm import tqdm

from nemo_vtb.assets import resolve
from nemo_vtb.synthesis.kokoro import ENGLISH_VOICES
from nemo_vtb.synthesis.voices import speak

SAMPLE_RATE = 16_000
DEV = 160
POOL = 16_000
# Engine or voice -> share; Kokoro speaks best and slowest.
SHARES = {
    "hibari:heart": 0.33,
    "flite:slt": 0.2,
    "flite:rms": 0.19,
    "flite:awb": 0.19,
    "flite:kal16": 0.04,
    "kokoro": 0.05,
}


def plan(sentences: list[str], seed: int) -> list[dict]:
    """Returns manifest rows without durations; the last ``DEV`` go to voices that never speak in training."""
    rng = Random(seed)
    heard = [v for v in ENGLISH_VOICES if v not in (*HELD_OUT_VOICES, *LEFT_OUT)]
    rows = []
    for number, text in enumerate(sentences):
        dev = number >= len(sentences) - DEV
        voice = "kokoro" if dev else rng.choices(list(SHARES), list(SHARES.values()))[0]
        pitch = 1.0
        if voice == "kokoro":
            voice = f"kokoro:{rng.choice(HELD_OUT_VOICES if dev else heard)}"
        else:
            pitch = round(rng.uniform(0.88, 1.14), 2)
        name = f"{number:05d}_{voice.replace(':', '_')}"
        rows.append(
            {
                "audio_filepath": f"audio/{name[:2]}/{name}.flac",
                "text": text,
                "lang": "en",
                "speaker": voice,
                "speed": round(rng.uniform(0.88, 1.12), 2),
                "pitch": pitch,
                "split": "dev" if dev else "train",
            }
        )
    return rows


def main() -> None:
    """Speaks what is missing and writes the manifest once every clip is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000, help=f"of {POOL} drawn sentences, how many to speak")
    parser.add_argument("--sentences", type=Path, help="a file of your own, one sentence a line")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.sentences:
        sentences = args.sentences.read_text(encoding="utf-8").splitlines()
    else:
        sentences = open_sentences(Path(resolve("english-texts")), POOL, args.seed)
    rows = plan(sentences, args.seed)
    rows = [*rows[-DEV:], *rows[: args.count - DEV]]
    part, parts = map(int, args.part.split("/"))
    for row in tqdm(rows[part::parts], unit="clip"):
        path = args.out / row["audio_filepath"]
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        audio = trimmed(speak(row["text"], row["speaker"], row["speed"], row["pitch"], SAMPLE_RATE))
        partial = path.with_suffix(".partial")
        soundfile.write(partial, audio, SAMPLE_RATE, format="FLAC")
        os.replace(partial, path)
    if not all((args.out / row["audio_filepath"]).exists() for row in rows):
        return
    for row in rows:
        row["duration"] = round(soundfile.info(args.out / row["audio_filepath"]).duration, 3)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (args.out / "manifest.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(rows)} clips, {sum(row['duration'] for row in rows) / 3600:.1f} h in {args.out}")


if __name__ == "__main__":
    main()
