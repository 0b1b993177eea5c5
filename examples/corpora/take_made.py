"""Takes conversations that ``vtb synth`` made about recordings of a corpus into it, with paths from its folder.

python examples/corpora/take_made.py runs/commands_qa examples/corpora/spoken_commands/sqa.jsonl
"""

import argparse
from pathlib import Path

from nemo_vtb.synthesis.jobs.shard import CONVERSATIONS
from nemo_vtb.whole_files import read_rows, write_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("made", type=Path, help="folder of vtb synth")
    parser.add_argument("target", type=Path, help="JSONL file in the corpus")
    args = parser.parse_args()
    rows = read_rows(args.made / f"{CONVERSATIONS}.jsonl")
    corpus = args.target.parent.resolve()
    for row in rows:
        for turn in row["conversations"]:
            if turn["type"] == "audio":
                clip = (args.made / turn["value"]).resolve()
                if not clip.is_relative_to(corpus):
                    raise SystemExit(f"{row['id']}: {clip} is no recording of {args.target.parent}")
                turn["value"] = str(clip.relative_to(corpus))
    write_rows(args.target, rows)
    print(f"{len(rows)} conversations in {args.target}")


if __name__ == "__main__":
    main()
