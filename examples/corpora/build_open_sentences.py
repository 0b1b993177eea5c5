"""Takes the held-out sentences of build_open_speech.py into the corpus open_sentences, with the questions about them.

    python examples/corpora/build_open_speech.py --out runs/open_speech --count 160 --phone 0 --broad 0 --lists 0
    python examples/corpora/build_open_sentences.py --speech runs/open_speech

Sentences in voices that the reference run's training never hears. Those from web pages are left out, whose licences
nobody knows, and those in what the LLM is asked for the reference run's replay.
"""

import argparse
from pathlib import Path

import soundfile
from build_study_train import prompts
from said.open_sentences import raw_sentences

from nemo_vtb.assets import resolve
from nemo_vtb.paths import corpora_dir
from nemo_vtb.whole_files import read_rows, write_rows

SHIPPED_SOURCES = ("chitchat", "gsm8k", "wikipedia")


def main() -> None:
    """Writes the clips as Ogg/Opus, the manifest and the questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder of build_open_speech.py")
    args = parser.parse_args()
    out = corpora_dir() / "open_sentences"
    (out / "audio").mkdir(parents=True, exist_ok=True)
    texts = Path(resolve("english-texts"))
    found, replayed = raw_sentences(texts), "\n".join(asked.lower() for _, asked in prompts(texts, seed=0))
    clips, manifest = {}, []
    for row in read_rows(args.speech / "manifest.jsonl"):
        source = next((name for name in SHIPPED_SOURCES if row["text"] in found[name]), None)
        if row["split"] != "dev" or source is None or row["text"].lower() in replayed:
            continue
        name = Path(row["audio_filepath"]).stem.rpartition("_")[0]  # without the fingerprint
        file = f"audio/{name}.ogg"
        audio, rate = soundfile.read(args.speech / row["audio_filepath"], dtype="float32")
        soundfile.write(out / file, audio, rate, format="OGG", subtype="OPUS", compression_level=0.9)
        clips[row["audio_filepath"]] = file, round(soundfile.info(out / file).duration, 3)
        kept = {key: row[key] for key in ("text", "lang", "speaker")}
        manifest.append({"audio_filepath": file, "duration": clips[row["audio_filepath"]][1], **kept, "source": source})
    questions = []
    for row in read_rows(args.speech / "sqa.jsonl"):
        (told,) = (turn for turn in row["conversations"] if turn["type"] == "audio")
        if told["value"] in clips:
            told["value"], told["duration"] = clips[told["value"]]
            questions.append({"id": f"open/{Path(told['value']).stem}", "conversations": row["conversations"]})
    write_rows(out / "manifest.jsonl", manifest)
    write_rows(out / "sqa.jsonl", questions)
    minutes = sum(row["duration"] for row in manifest) / 60
    print(f"{len(manifest)} clips, {minutes:.1f} min, {len(questions)} questions in {out}")


if __name__ == "__main__":
    main()
