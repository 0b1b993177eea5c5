"""What answers cost: the answering of ``vtb eval`` beside the plain way, and beside ``SALM.generate``, in one run.

python examples/benchmarks/answering.py --json examples/benchmarks/results/answering.json

The shipped checkpoint transcribes clips, answers questions about the same clips and answers in writing, in float32 on
one thread; then its untouched LLM is asked the same. Arms take turns:

* ``plain``: every prompt of both sides, LoRA beside the weights, clips encoded for each batch.
* ``ours``: ``nemo_vtb.evaluation.ask``, in batches as memory allows.
* ``salm``: NeMo's own ``SALM.generate`` with the same weights and prompts, in batches as large; it has neither the gate
  nor the untouched LLM, so the tuned side alone is asked, and answers in writing are others.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_BATCH, _TOKENS = 32, 24
_OURS = 128
_WRITTEN = (
    "What is the capital of France?",
    "Name three colours.",
    "Count from one to five.",
    "What do bees make?",
    "Say hello in Spanish.",
    "Which season comes after winter?",
    "How many legs has a spider?",
    "What is ice?",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    import torch

    from nemo_vtb.reports.environment import environment

    torch.set_num_threads(1)
    measured = measure(args.clips, args.times)
    text = json.dumps(measured | {"environment": environment(f"python {' '.join(sys.argv)}", seed=0)}, indent=2) + "\n"
    if args.json is not None:
        args.json.write_text(text)
    print(text)


def measure(clips: int, times: int) -> dict[str, Any]:
    from nemo_vtb.models.load import load_checkpoint
    from nemo_vtb.paths import checkpoint_path

    model = load_checkpoint(checkpoint_path("shipped"), "cpu", "32-true").eval()
    return compared(model, _tasks(clips, model.audio_locator_tag), times)


def compared(model: Any, tasks: list[Any], times: int) -> dict[str, Any]:
    """Asks in all three ways, in turns; seconds are the processor's, and the clock's where the model is on a GPU."""
    from nemo_vtb.data.dataset import VTBDataset

    dataset = VTBDataset(model.tokenizer, model.cfg.prompt_format, model.audio_locator_tag)
    on_cpu = model.device.type == "cpu"
    arms: dict[str, Callable[..., dict[str, list[str]]]] = {"plain": _plain, "ours": _ours, "salm": _salm}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    said: dict[str, dict[str, list[str]]] = {}
    for _ in range(times):
        for name, arm in arms.items():
            begun = _now(on_cpu)
            with model.arithmetic():
                said[name] = arm(model, dataset, tasks)
            seconds[name].append(_now(on_cpu) - begun)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    tokens = {
        name: sum(len(model.tokenizer.text_to_ids(answer)) + 1 for side in sides.values() for answer in side)
        for name, sides in said.items()
    }
    spoken = [number for number, task in enumerate(tasks) if task.seconds]
    return {
        "prompts": len(tasks),
        "cpu_seconds" if on_cpu else "seconds": seconds,
        "tokens": tokens,
        "tokens_a_cpu_second" if on_cpu else "tokens_a_second": {name: tokens[name] / medians[name] for name in arms},
        "to_plain": medians["ours"] / medians["plain"],
        "same_answers": said["ours"] == said["plain"],
        "spoken_as_salm": sum(said["ours"]["tuned"][i] == said["salm"]["tuned"][i] for i in spoken) / len(spoken),
    }


def _now(on_cpu: bool) -> float:
    if on_cpu:
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def _tasks(clips: int, tag: str) -> list[Any]:
    corpus = _ROOT / "examples/corpora/spoken_commands"
    rows = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if row.get("split") == "test_new_voice"][:clips]
    asked = {"asr": "Transcribe the audio.", "sqa": "What is this about?"}
    return tasks_of([corpus / row["audio_filepath"] for row in rows], tag, asked, _WRITTEN)


def tasks_of(clips: Sequence[Path], tag: str, asked: Mapping[str, str], written: Sequence[str]) -> list[Any]:
    """What is asked: of each clip once before (``asr``) and once after it (``sqa``), and in writing."""
    from lhotse import Recording
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

    from nemo_vtb.evaluation.answers import Task

    prompts: list[tuple[str, list[Any]]] = []
    for path in clips:
        clip = Recording.from_file(path).to_cut()
        heard = AudioTurn(cut=clip, role="user", audio_locator_tag=tag)
        prompts.append(("asr", [TextTurn(value=asked["asr"], role="user"), heard]))
        prompts.append(("sqa", [heard, TextTurn(value=asked["sqa"], role="user")]))
    prompts += [("text", [TextTurn(value=text, role="user")]) for text in written]
    return [
        Task(kind, NeMoMultimodalConversation(
            id=str(number), turns=[*turns, TextTurn(value="", role="assistant")], token_equivalent_duration=0.08,
            custom={"kind": kind}))
        for number, (kind, turns) in enumerate(prompts)
    ]  # fmt: skip


def _plain(model: Any, dataset: Any, tasks: list[Any]) -> dict[str, list[str]]:
    import torch

    from nemo_vtb.models.answers.generate import default_generation_config, prompt_embeddings, row_gate

    def answered() -> list[str]:
        answers = [""] * len(tasks)
        order = sorted(range(len(tasks)), key=lambda i: tasks[i].seconds)
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            rows = [_row(model, tasks[i]) for i in part]
            asked = prompt_embeddings(model, rows, dataset[[tasks[i].conversation for i in part]])
            config = default_generation_config(model, max_new_tokens=_TOKENS)
            ids = model.backbone.generate(asked.embeds, asked.mask, config, row_gate(model, rows), asked.ids)
            for i, row in zip(part, ids.tolist(), strict=True):
                answers[i] = model.tokenizer.ids_to_text(row).strip()
        return answers

    with torch.no_grad():
        tuned = answered()
        with model.backbone.without_lora():
            return {"tuned": tuned, "base": answered()}


def _ours(model: Any, dataset: Any, tasks: list[Any]) -> dict[str, list[str]]:
    from nemo_vtb.evaluation.ask import ask
    from nemo_vtb.evaluation.sets.plan import Plan, Questions

    answers = ask(model, dataset, Plan([Questions("prompts", "sqa", tasks, _TOKENS)], [], {}), _OURS)
    return {side: list(answers.questions[side][0]) for side in ("tuned", "base")}


def _salm(model: Any, dataset: Any, tasks: list[Any]) -> dict[str, list[str]]:
    import torch
    from nemo.collections.speechlm2.models.salm import SALM

    from nemo_vtb.models.answers.generate import default_generation_config

    model.backbone._gate.value = None
    answers = [""] * len(tasks)
    order = sorted(range(len(tasks)), key=lambda i: tasks[i].seconds)
    sorts = [[i for i in order if not tasks[i].seconds], [i for i in order if tasks[i].seconds]]
    for part in [of_sort[start : start + _BATCH] for of_sort in sorts for start in range(0, len(of_sort), _BATCH)]:
        batch = dataset[[tasks[i].conversation for i in part]]
        rows = [torch.from_numpy(_row(model, tasks[i])) for i in part]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), model.text_pad_id)
        for line, row in zip(ids, rows, strict=True):
            line[longest - len(row) :] = row
        named = ("audios", "audio_lens") if tasks[part[0]].seconds else ()
        heard = {name: batch[name].to(model.device) for name in named}
        config = default_generation_config(model, max_new_tokens=_TOKENS)
        with torch.no_grad():
            said = SALM.generate(model, prompts=ids.to(model.device), generation_config=config, **heard)
        new = said if heard else said[:, longest:]  # of written prompts it returns the prompt as well
        for i, row in zip(part, new.tolist(), strict=True):
            answers[i] = model.tokenizer.ids_to_text(row).strip()
    return {"tuned": answers}


def _row(model: Any, task: Any) -> Any:
    from nemo_vtb.parts.prompts.turn_mask import encode_turns, merged_turns

    turns = merged_turns(task.conversation, model.audio_locator_tag)[:-1]
    return encode_turns(turns, model.formatter, for_generation=True).input_ids


if __name__ == "__main__":
    main()
