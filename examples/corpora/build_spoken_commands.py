"""Speaks the spoken-commands corpus: Kokoro voices, Ogg/Opus at 16 kHz, a manifest, and written chats about it.

    python examples/corpora/build_spoken_commands.py --kokoro FOLDER --out examples/corpora/spoken_commands

The chats become turns of written and spoken words by ``vtb synth speech``, the manifest questions and answers by
``vtb synth qa``; the corpus's README has both commands. Every text is distinct over all splits, so a held-out utterance
is a word sequence nobody trained on. Four voices are spoken only in ``test_new_voice``. Deterministic by ``--seed``;
clips that exist already are kept, so it resumes.
"""

import argparse
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from asked.command_tasks import written_chat
from said.command_domain import CommandUtterance, draw_utterance
from scipy.signal import resample_poly
from tqdm import tqdm

from nemo_vtb.synthesis.voices.kokoro import ENGLISH_VOICES, KOKORO_SAMPLE_RATE, Kokoro
from nemo_vtb.whole_files import write_rows

SAMPLE_RATE = 16_000
HELD_OUT_VOICES = ("af_bella", "am_michael", "bf_emma", "bm_george")
LEFT_OUT = ("af_nicole", "am_santa")  # a whisper and a caricature
PER_VOICE = {"train": 66, "dev": 2, "test": 4}
PER_HELD_OUT_VOICE = {"test_new_voice": 20}


def plan(seed: int) -> list[tuple[str, str, CommandUtterance, float]]:
    """Returns (split, voice, utterance, speed) rows in random order; held-out texts never stand in train."""
    rng = Random(seed)
    slots = []
    for voice in ENGLISH_VOICES:
        if voice in LEFT_OUT:
            continue
        counts = PER_HELD_OUT_VOICE if voice in HELD_OUT_VOICES else PER_VOICE
        slots += [(split, voice) for split, count in counts.items() for _ in range(count)]
    # Held-out rows draw first, so that the single words and other small forms do not exhaust what they may use.
    slots.sort(key=lambda row: row[0] == "train")
    held_out: set[str] = set()
    rows = []
    for split, voice in slots:
        utterance = draw_utterance(rng)
        while utterance.text in held_out or (split != "train" and utterance.form == "word"):
            utterance = draw_utterance(rng)
        if split != "train":
            held_out.add(utterance.text)
        rows.append((split, voice, utterance, round(rng.uniform(0.9, 1.15), 2)))
    rng.shuffle(rows)
    return rows


def trimmed(audio: np.ndarray, floor: float = 0.01, margin: float = 0.1) -> np.ndarray:
    """Cuts silence below ``floor`` of full scale from both ends, keeping ``margin`` seconds; peak becomes 0.7."""
    loud = np.flatnonzero(np.abs(audio) > floor)
    pad = int(margin * SAMPLE_RATE)
    audio = audio[max(0, loud[0] - pad) : loud[-1] + pad]
    return audio * (0.7 / np.abs(audio).max())


def write_tasks(rows: list[dict], out: Path, seed: int) -> None:
    """Writes ``chats.jsonl``, up to two chats per clip, and ``ast.jsonl``."""
    rng = Random(seed + 1)
    chats, translations = [], []
    for row in rows:
        stem = Path(row["audio_filepath"]).stem
        for number, (asked, answer) in enumerate(dict.fromkeys(written_chat(row, rng) for _ in range(2))):
            turns = [
                {"from": "User", "type": "text", "value": asked},
                {"from": "Assistant", "type": "text", "value": answer},
            ]
            chats.append({"id": f"{stem}/chat{number}", "split": row["split"], "conversations": turns})
        if row["spanish"]:
            translations.append({**row, "id": f"{stem}/ast", "target_lang": "es", "translation": row["spanish"]})
    write_rows(out / "chats.jsonl", chats)
    write_rows(out / "ast.jsonl", translations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kokoro", required=True, help="folder with kokoro-int8.onnx, vocab.json and voices/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    speak = None
    (args.out / "audio").mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (split, voice, utterance, speed) in enumerate(tqdm(plan(args.seed), unit="clip")):
        path = args.out / "audio" / f"{index:04d}_{voice}.ogg"
        if not path.exists():
            speak = speak or Kokoro(args.kokoro)
            audio = speak(utterance.text + ".", voice, speed)
            audio = trimmed(resample_poly(audio, SAMPLE_RATE, KOKORO_SAMPLE_RATE))
            partial = path.with_suffix(".partial")
            soundfile.write(partial, audio, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=0.9)
            partial.rename(path)
        rows.append(
            {
                "audio_filepath": str(path.relative_to(args.out)),
                "duration": round(soundfile.info(path).duration, 3),
                "lang": "en",
                "speaker": voice,
                "speed": speed,
                "split": split,
                **utterance.to_dict(),
            }
        )
    write_rows(args.out / "manifest.jsonl", rows)
    write_tasks(rows, args.out, args.seed)


if __name__ == "__main__":
    main()
