"""Writes prompts that people typed as text conversations, to be spoken by ``vtb synth speech``.

They come from the packaged asset ``english-texts`` and are used, not shipped: the first exchanges of chats between two
people, and word problems with their solutions.

python examples/corpora/build_human_chats.py --out runs/human_chats.jsonl
"""

import argparse
import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

_CALCULATION = re.compile(r"<<.*?>>")
_EXCHANGES = 3


def main() -> None:
    """Draws conversations of both kinds and writes them as NeMo's ``multimodal_conversation``."""
    from nemo_vtb.assets import resolve
    from nemo_vtb.synthesis.jobs.shard import write_rows

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chats", type=int, default=1100)
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder, rng = Path(resolve("english-texts")), Random(args.seed)
    chats, problems = list(_chats(folder / "chitchat.json")), list(_problems(folder / "gsm8k.jsonl"))
    rows = rng.sample(chats, args.chats) + rng.sample(problems, args.problems)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_rows(args.out, rows)
    print(f"{len(rows)} conversations in {args.out}")


def _chats(path: Path) -> Iterator[dict[str, Any]]:
    for name, chat in sorted(json.loads(path.read_text(encoding="utf-8")).items()):
        said = [(message["sender"], message["text"].strip()) for turn in chat["messages"] for message in turn]
        turns = [
            " ".join(text if text.endswith((".", "?", "!")) else f"{text}." for _, text in group if text)
            for _, group in groupby(said, key=lambda message: message[0])
        ]
        turns = turns[: 2 * _EXCHANGES]
        turns = turns[: len(turns) - len(turns) % 2]
        if len(turns) > 1 and all(turns) and any(len(text.split()) >= 5 for text in turns[::2]):
            yield _row(f"chitchat-{name}", turns)


def _problems(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            solution, _, result = _CALCULATION.sub("", row["answer"]).partition("####")
            yield _row(
                f"gsm8k-{number:04d}", [row["question"].strip(), f"{solution.strip()}\nThe answer is {result.strip()}."]
            )


def _row(name: str, turns: list[str]) -> dict[str, Any]:
    roles = ("User", "Assistant")
    conversations = [{"from": roles[place % 2], "type": "text", "value": text} for place, text in enumerate(turns)]
    return {"id": name, "conversations": conversations, "custom": {"lang": "en"}}


if __name__ == "__main__":
    main()
