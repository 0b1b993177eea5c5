"""``vtb eval``: a checkpoint and its untouched LLM, measured side by side."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from omegaconf import DictConfig

from nemo_vtb.errors import VTBError
from nemo_vtb.options import Count, Draws, Range, Seed, Threads, Tokens, read_options
from nemo_vtb.paths import existing_checkpoint, require_writable
from nemo_vtb.reports.write import Render, write_both

if TYPE_CHECKING:
    from nemo_vtb.evaluation.ask import Answers
    from nemo_vtb.evaluation.sets.plan import Plan
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


@dataclass
class EvalSection:
    """The section ``eval``: what is asked, and how answers are compared; see ``conf/eval/common.yaml``.

    Attributes:
        sets: What is asked about recordings, by name.
        text: What is asked in writing, of the checkpoint and of its untouched LLM, by name.
        bootstrap: Test sets drawn for each interval.
        max_new_tokens: Of an answer, where its set does not say.
        max_text_drop: Points that a text suite may lose against the untouched LLM; ``vtb eval --gate`` fails past it.
        judge: An LLM that judges answers of kind sqa.
    """

    sets: dict[str, dict[str, Any]] | None = None
    text: dict[str, dict[str, Any]] | None = None
    bootstrap: Draws = 1000
    max_new_tokens: Tokens = 32
    max_text_drop: Annotated[float, Range(0)] | None = None
    judge: dict[str, Any] | None = None


@dataclass
class EvalOptions:
    """The whole config of ``vtb eval``.

    Attributes:
        eval: What is asked, and how answers are compared.
        out: Folder of ``eval.json``, ``eval.html`` and ``answers.jsonl``.
        seed: Of the bootstrap.
        threads: Of the processor; ``auto``: all cores that this process may use.
        device: Of the model.
        precision: Of answers: ``32-true``, ``bf16-mixed``, or ``auto`` for what the device computes fastest.
        batch_size: Most prompts at a time; fewer where their keys and values would take more than a gibibyte.
        tensor_model_parallel_size: Ranks over which the LLM is cut on megatron-core (torchrun); null: Hugging Face.
        local: The folder of a public benchmark, for its sets to name.
    """

    eval: EvalSection
    out: str = "runs/eval"
    seed: Seed = 0
    threads: Threads | None = None
    device: str = "cpu"
    precision: str = "32-true"
    batch_size: Count = 128
    local: str | None = None
    tensor_model_parallel_size: Count | None = None


def evaluate(
    checkpoint: str, cfg: DictConfig, command: str, render: Render, submit: str | None = None
) -> dict[str, Any]:
    """Measures and writes ``eval.json``, ``eval.html`` and ``answers.jsonl`` into ``cfg.out``.

    Args:
        checkpoint: A ``.ckpt`` file.
        cfg: See ``conf/eval/common.yaml``.
        command: How this was called, for the report.
        render: Draws the page.
        submit: Folder for the files that public boards take.

    Returns:
        What ``eval.json`` holds; see ``nemo_vtb.evaluation.sections.sections``.

    Raises:
        VTBError: On a config, set or checkpoint that cannot be used.
    """
    settings = _checked(cfg)
    began = time.monotonic()
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.sources.source import Reading
    from nemo_vtb.evaluation.ask import ask
    from nemo_vtb.evaluation.items import check_scored, items_of
    from nemo_vtb.evaluation.judged import open_answer_judge
    from nemo_vtb.evaluation.public.catalog import with_public_sets
    from nemo_vtb.evaluation.retention.gate import check
    from nemo_vtb.evaluation.samples import page_samples
    from nemo_vtb.evaluation.scoring.bootstrap import Drawing
    from nemo_vtb.evaluation.sections import cut_off, sections
    from nemo_vtb.evaluation.sets.plan import read_plan
    from nemo_vtb.evaluation.submit import check_submission, write_submission
    from nemo_vtb.models.for_machine import use_for_answers
    from nemo_vtb.models.load import load_checkpoint
    from nemo_vtb.parts.ranks import is_first
    from nemo_vtb.reports.environment import environment

    existing_checkpoint(checkpoint)
    used = use_for_answers(settings["precision"], settings["device"], settings["threads"])
    cut = settings["tensor_model_parallel_size"]
    model = load_checkpoint(checkpoint, settings["device"], used["precision"].value, tensor_parallel=cut)
    folder = Path(settings["out"])
    section, datasets = with_public_sets(settings["eval"], folder / "public")
    plan = read_plan(section, Reading(model.audio_locator_tag, model.token_equivalent_duration))
    gated = section.get("max_text_drop") is not None
    if gated and not any(part.kind == "text" for part in plan.questions):
        raise VTBError(
            "eval.max_text_drop has nothing to judge: name a suite of type replies or word_problems under eval.text"
        )
    check_scored(plan)
    drawing = Drawing(section["bootstrap"], settings["seed"])
    judge = None if section.get("judge") is None else open_answer_judge(section["judge"], plan, drawing)
    dataset = VTBDataset(model.tokenizer, model.cfg.prompt_format, model.audio_locator_tag)
    if submit:
        check_submission(Path(submit), plan.questions)
    require_writable(folder, "out")
    answers = ask(model, dataset, plan, settings["batch_size"])
    # Whatever comes of the judge and the page, what was said is kept.
    _write_answers(folder, plan, answers)
    if judge:
        answers = judge.judged(plan, answers)
    items = items_of(plan, answers)
    report: dict[str, Any] = {"seconds": 0.0, "checkpoint": _described(checkpoint, model)}
    report |= sections(plan, answers, drawing)
    if datasets:
        report["datasets"] = datasets
    asked: list[Any] = [*plan.questions, *plan.scripts]
    report["decoding"] = {
        "temperature": 0.0,
        "thinking": model.cfg.get("thinking") or "auto",
        "max_new_tokens": {part.name: part.max_new_tokens for part in asked},
        "cut_off": cut_off(plan, answers),
    }
    if judge:
        report["judge"] = judge.section(items)
    if gated:
        report["gate"] = check(_suites(report), section["max_text_drop"]).to_dict()
    report["environment"] = environment(command, settings["seed"], used)
    report["seconds"] = round(time.monotonic() - began, 1)
    if not is_first():
        return report
    samples = page_samples(items, plan, answers)
    write_both(report, folder, lambda text: render(report, samples, text), "eval")
    _write_answers(folder, plan, answers)
    if submit:
        write_submission(Path(submit), report["checkpoint"]["llm"], items)
    return report


def _write_answers(folder: Path, plan: "Plan", answers: "Answers") -> None:
    from nemo_vtb.evaluation.items import items_of
    from nemo_vtb.evaluation.samples import answer_rows
    from nemo_vtb.parts.ranks import is_first

    if is_first():
        rows = answer_rows(items_of(plan, answers), plan, answers)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "answers.jsonl").write_text(lines, encoding="utf-8")


def _checked(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain containers, with nothing in it that nobody reads."""
    if cfg.get("eval") is None:
        raise VTBError("the config has no section eval: nothing says what to ask; see conf/eval/quickstart.yaml")
    return asdict(read_options(EvalOptions, cfg, nulls=True))


def _suites(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Suites of checked replies as the gate takes them; a likelihood is no such score."""
    suites = {name: found for name, found in report.get("text", {}).items() if found["measure"] == "accuracy"}
    return {
        name: {
            **{key: found[key]["value"] for key in ("tuned", "base", "drop")},
            **{key: found["drop"][key] for key in ("low", "high", "n")},
            "lost": found["lost"],
        }
        for name, found in suites.items()
    }


def _described(path: str, model: "VoiceTextBlender") -> dict[str, Any]:
    """What was measured, in words that hold on another machine."""
    from nemo_vtb.inference.card.data import lora_rank

    return {
        "path": path,
        "llm": Path(model.cfg.pretrained_llm).name,
        "encoder": Path(model.cfg.get("pretrained_asr") or "").name,
        "lora_rank": lora_rank(model.cfg),
        "text_lora": model.cfg.get("text_lora", "always"),
    }
