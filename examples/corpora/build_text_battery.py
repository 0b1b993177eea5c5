"""Writes the text battery of the long study: multiple choice by ability, and held-out text for bits per byte.

    python examples/corpora/build_text_battery.py --out runs/study_data/battery

Multiple choice comes from the packaged asset ``english-tests`` (used, not shipped) and from the tables beside this
file, held-out chats, worked solutions and articles from ``english-texts``. Training reads none of it: what it asks too
is left out here. Other messages of the people who chat are among the sentences that it hears, of the articles nothing.
A file is one ability; they are never pooled. ``README.md`` in the folder says how many rows each has, where they come
from and under which licence. Deterministic.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

from asked.facts import facts
from asked.word_problems import sums, word_problems
from said.chats import articles, chats, messages, solved_problems
from said.open_sentences import rows_of

SOCIAL, SCIENCE, KNOWLEDGE, WORDS, SUMS, PROBLEMS = 400, 400, 400, 300, 400, 150
CHATS, SOLUTIONS, ARTICLES = 200, 100, 100
ABILITIES = {
    "social": ("what people feel, want and do next (Social IQa, test)", "CC BY 4.0, in `evals` (MIT)"),
    "science": ("how one quantity moves with another (QuaRTz)", "CC BY 4.0, in `evals` (MIT)"),
    "knowledge": ("school and professional subjects (MMLU), options in words", "MIT, in `evals` (MIT)"),
    "words": ("which word goes with others (Related Words)", "`evals` (MIT)"),
    "facts": ("capitals, opposites, word forms, kinds of things", "Apache-2.0, written for it"),
    "sums": ("arithmetic and the order of numbers up to a hundred", "Apache-2.0, written for it"),
    "problems": ("word problems in one or two steps", "Apache-2.0, written for it"),
    "chats": ("bits per byte of what people wrote to each other (BYU)", "MIT, `chitchat-dataset`"),
    "solutions": ("bits per byte of worked solutions (GSM8K, test)", "MIT"),
    "articles": ("bits per byte of what an encyclopedia goes on with (Wikipedia)", "CC BY-SA 3.0"),
}


def main() -> None:
    """Draws all files and writes the card."""
    from nemo_vtb.assets import resolve
    from nemo_vtb.whole_files import write_rows, write_text

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tests, texts = Path(resolve("english-tests")), Path(resolve("english-texts"))
    args.out.mkdir(parents=True, exist_ok=True)
    made = {
        "social": _drawn(_social(tests / "socialiqa.jsonl"), SOCIAL, args.seed),
        "science": _drawn(_science(tests / "quartz.jsonl"), SCIENCE, args.seed),
        "knowledge": _drawn(_knowledge(tests / "mmlu.jsonl"), KNOWLEDGE, args.seed),
        "words": _drawn(_words(tests), WORDS, args.seed),
        "facts": list(_untaught(facts(args.seed))),
        "sums": list(_untaught(sums(SUMS, args.seed))),
        "problems": list(_untaught(word_problems(PROBLEMS, args.seed))),
        "chats": held_out_chats(texts, args.seed),
        "solutions": held_out_solutions(texts, args.seed),
        "articles": _drawn(articles(texts), ARTICLES, args.seed),
    }
    lines = ["# Text battery", "", "| ability | rows | what | licence |", "|---|---|---|---|"]
    for name, rows in made.items():
        write_rows(args.out / f"{name}.jsonl", rows)
        lines.append(f"| `{name}` | {len(rows)} | {' | '.join(ABILITIES[name])} |")
    write_text(args.out / "README.md", "\n".join([*lines, ""]))
    print(f"{sum(map(len, made.values()))} rows in {args.out}")


def held_out_chats(texts: Path, seed: int = 0) -> list[dict]:
    """Chats between people; see ``held_out_text``."""
    return _drawn(chats(texts), CHATS, seed + 100)


def held_out_solutions(texts: Path, seed: int = 0) -> list[dict]:
    """Word problems of GSM8K with their solutions; see ``held_out_text``."""
    return _drawn(solved_problems(texts), SOLUTIONS, seed + 100)


def held_out_text(texts: Path, seed: int = 0) -> str:
    """All that is held out, in lower case, so that a sentence that occurs in it can be kept out of training.

    Of a chat that is all of it, not the first exchanges alone, which are measured.
    """
    held_out = held_out_chats(texts, seed)
    rows = [*held_out, *held_out_solutions(texts, seed)]
    measured = [turn["value"] for row in rows for turn in row["conversations"]]
    return "\n".join([*measured, *messages(texts, {row["id"] for row in held_out})]).lower()


def _untaught(rows: Iterator[dict]) -> Iterator[dict]:
    """Those whose question no text turn of training asks."""
    taught = "\n".join(
        turn["value"].lower()
        for path in ("smollm2_chat/train.jsonl", "spoken_commands/chats.jsonl")
        for line in (Path(__file__).parent / path).read_text(encoding="utf-8").splitlines()
        for turn in json.loads(line)["conversations"]
    )
    return (row for row in rows if row["prompt"].strip().lower() not in taught)


def _drawn(rows: Iterator[dict], count: int, seed: int) -> list[dict]:
    found = list(rows)
    return Random(seed).sample(found, min(count, len(found)))


def _choice(name: str, prompt: str, options: list[str], answer: int) -> Iterator[dict]:
    """The row, unless its options cannot be told apart."""
    if len({option.lower() for option in options}) == len(options) > 1 and all(options):
        yield {"id": name, "prompt": prompt, "options": options, "answer": answer}


def _social(path: Path) -> Iterator[dict]:
    for number, row in enumerate(rows_of(path)):
        match = re.fullmatch(r"(.*?) A: (.*?); B: (.*?); C: (.*?)\.?", row["input"][0]["content"].strip(), re.DOTALL)
        if match:
            yield from _choice(f"social/{number}", match[1], [match[2], match[3], match[4]], "ABC".index(row["ideal"]))


def _science(path: Path) -> Iterator[dict]:
    for number, row in enumerate(rows_of(path)):
        match = re.fullmatch(r"(.*?)\s*A: (.*?)\s*B: (.*?)", row["input"][-1]["content"].strip(), re.DOTALL)
        if match and row["ideal"] in "AB":
            yield from _choice(f"science/{number}", match[1].strip(), [match[2], match[3]], "AB".index(row["ideal"]))


def _knowledge(path: Path) -> Iterator[dict]:
    for number, row in enumerate(rows_of(path)):
        pattern = r"(.*?)\s*\nA\. (.*?)\nB\. (.*?)\nC\. (.*?)\nD\. (.*?)\nAnswer:"
        match = re.fullmatch(pattern, row["question"].strip(), re.DOTALL)
        # Longer ones cost much and tell little about a small LLM.
        if match and len(row["question"]) < 600:
            options = [part.strip() for part in match.groups()[1:]]
            yield from _choice(f"knowledge/{number}", match[1].strip(), options, "ABCD".index(row["answer"]))


def _words(folder: Path) -> Iterator[dict]:
    for path in sorted(folder.glob("related_words_*.jsonl")):
        for number, row in enumerate(rows_of(path)):
            related, options = re.findall(r"\[(.*?)\]", row["input"][-1]["content"])
            listed, right = options.split(", "), row["ideal"].strip("[]")
            if right in listed:
                # The right one always stands last there.
                listed = Random(f"{path.stem}/{number}").sample(listed, len(listed))
                prompt = f"Name a word that goes with these words: {related}."
                yield from _choice(f"{path.stem}/{number}", prompt, listed, listed.index(right))


if __name__ == "__main__":
    main()
