"""Writes prompts that people typed as text conversations, to be spoken by ``vtb synth speech``.

They come from the packaged asset ``english-texts`` and are used, not shipped: the first exchanges of chats between two
people, and word problems with their solutions.

python examples/corpora/build_human_chats.py --out runs/human_chats.jsonl
"""

import argparse
from pathlib import Path
from random import Random

from said.chats import chats, solved_problems


def main() -> None:
    """Draws conversations of both kinds and writes them as NeMo's ``multimodal_conversation``."""
    from nemo_vtb.assets import resolve
    from nemo_vtb.whole_files import write_rows

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chats", type=int, default=1100)
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder, rng = Path(resolve("english-texts")), Random(args.seed)
    rows = rng.sample(list(chats(folder)), args.chats) + rng.sample(list(solved_problems(folder)), args.problems)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_rows(args.out, rows)
    print(f"{len(rows)} conversations in {args.out}")


if __name__ == "__main__":
    main()
