"""``vtb quickstart``: fetch, measure, train, measure again, report; a checkpoint to talk to at the end."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemo_vtb.config import ConfigDirs
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import require_writable

_SAMPLES_PER_GROUP = 5


class _Stages:
    """Times named stages and says what is going on."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        print(f"[{time.monotonic() - self.start:5.0f} s] {name}", flush=True)
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 1)


def quickstart(out: str, overrides: list[str], config_name: str = "quickstart", config_dir: ConfigDirs = None) -> int:
    """Runs the whole road and returns 0.

    Args:
        out: Folder for the report and the checkpoint.
        overrides: Hydra overrides.
        config_name: A config with a ``held_out`` section.
        config_dir: One's own folders of configs.

    Raises:
        VTBError: If the shipped corpora are missing, or on any bad config.
    """
    from nemo_vtb.paths import CLONE, corpora_dir

    stages = _Stages()
    if corpora_dir() is None:
        raise VTBError(f"the quickstart's recordings are not part of the installed package: {CLONE}")
    folder = Path(out)
    require_writable(folder, "--out")
    with stages("models: fetch and convert (once)"):
        from omegaconf import OmegaConf

        from nemo_vtb.assets import resolve
        from nemo_vtb.config import compose
        from nemo_vtb.quickstart.tasks import check_held_out
        from nemo_vtb.training import check_config, use_machine

        cfg = compose(config_name, overrides, config_dir)
        if "held_out" not in cfg:
            raise VTBError(f"config '{config_name}' has no section held_out: nothing says what to ask")
        check_config(cfg)
        check_held_out(cfg)
        asked: Any = OmegaConf.to_container(cfg.held_out, resolve=True)
        if not cfg.trainer.get("default_root_dir"):
            OmegaConf.update(cfg, "trainer.default_root_dir", str(folder), force_add=True)
        chosen = use_machine(cfg)
        resolve(cfg.model.pretrained_llm)
        if cfg.model.get("pretrained_asr"):
            resolve(cfg.model.pretrained_asr)
    with stages("build: model and data"):
        from nemo_vtb.callbacks.progress import KindProgress
        from nemo_vtb.callbacks.shares import RealisedShares
        from nemo_vtb.quickstart import tasks as held_out
        from nemo_vtb.quickstart.measure import measure
        from nemo_vtb.quickstart.resume import Stopped
        from nemo_vtb.training import build

        progress, shares = KindProgress(), RealisedShares()
        trainer, model, datamodule = build(cfg, [progress, shares], chosen)
        stopped = Stopped(trainer, asked)
        dataset = datamodule.dataset
        tasks = held_out.held_out_tasks(cfg.held_out, cfg.data.train_ds)
        suite, replay = held_out.text_suite(cfg.held_out), held_out.held_out_text(cfg.held_out, cfg.data.train_ds)
    longest = cfg.held_out.get("max_new_tokens", 24)
    precision = trainer.precision_plugin.val_step_context
    expected, before, checkpoint = None, stopped.before, stopped.checkpoint
    if checkpoint is not None:
        print(f"goes on from {checkpoint}", flush=True)
    if before is None:
        expected = _expected(cfg, model, len(tasks) + len(suite), chosen)
        with stages("before: held-out questions"), precision():
            before = measure(model, dataset, tasks, suite, "before", longest)
        with stages("before: held-out loss"):
            trainer.validate(model, datamodule, verbose=False)
        stopped.keep(before, stages.seconds)
    else:
        stages.seconds |= stopped.seconds
    with stages("train"):
        trainer.fit(model, datamodule, ckpt_path=checkpoint)
        trainer.save_checkpoint(folder / "last.ckpt", weights_only=True)
        # A run that was stopped behind its last step saved that step before it was validated.
        if progress.validation[-1]["step"] != trainer.global_step:
            trainer.validate(model, datamodule, verbose=False)
    if checkpoint is not None:
        stages.seconds["train"] = round(progress.train[-1]["seconds"], 1)
    with stages("after: held-out questions"), precision():
        after = measure(model, dataset, tasks, suite, "after", longest)
    with stages("after: divergence from the untouched LLM"), precision():
        from nemo_vtb.evaluation.retention.divergence import kl_to_base

        divergence = kl_to_base(model, dataset, replay)
    report = _report(cfg, chosen, progress, shares, tasks, before, after, divergence, stages)
    report["forecast"] = expected and {"training": round(expected.training), "asking": round(expected.asking)}
    from nemo_vtb.quickstart.report import write_report

    write_report(report, folder, _samples(tasks, before, after))
    _say(report, folder)
    return 0


def _expected(cfg: Any, model: Any, questions: int, chosen: Any) -> Any:
    """Says how long the rest will take."""
    import torch

    from nemo_vtb.parts.machine.hardware import look
    from nemo_vtb.quickstart.forecast import forecast

    expected = forecast(model, cfg, questions, look(), torch.get_num_threads(), chosen["precision"].value)
    if expected is not None:
        print(expected, flush=True)
    return expected


def _report(
    cfg: Any,
    chosen: Any,
    progress: Any,
    shares: Any,
    tasks: Any,
    before: Any,
    after: Any,
    divergence: float,
    stages: _Stages,
) -> dict[str, Any]:
    from nemo_vtb.quickstart.measure import speech_results
    from nemo_vtb.reports.environment import environment

    first, last = progress.validation[0], progress.validation[-1]
    kinds = cfg.data.train_ds.blend.kinds
    asked = {kind: float(section.share) for kind, section in kinds.items()}
    return {
        "seconds": round(sum(stages.seconds.values()), 1),
        "stages": stages.seconds,
        "loss": {
            kind: {"first": first[f"val_loss_{kind}"], "last": last[f"val_loss_{kind}"]}
            for kind in cfg.data.validation_ds.kinds
        },
        **speech_results(tasks, before.answers, after.answers),
        "text": {
            "kl_to_base": divergence,
            "score_before": sum(before.suite) / len(before.suite),
            "score_after": sum(after.suite) / len(after.suite),
            "n": len(after.suite),
        },
        "realised_share": shares.shares(cfg.data.train_ds.blend.unit),
        "share_unit": cfg.data.train_ds.blend.unit,
        "asked_share": {kind: share / sum(asked.values()) for kind, share in asked.items()},
        "padding_share": shares.padding_share,
        "blend": {kind: dict(count) for kind, count in shares.counts.items()},
        "history": {"train": progress.train, "validation": progress.validation},
        "environment": environment(f"vtb {shlex.join(sys.argv[1:])}", cfg.seed, chosen),
    }


def _samples(tasks: Any, before: Any, after: Any) -> list[dict[str, Any]]:
    from nemo_vtb.quickstart.measure import correct

    shown: dict[tuple[str, str], int] = {}
    rows = []
    for task, was, now in zip(tasks, before.answers, after.answers, strict=True):
        place = (task.kind, task.group)
        shown[place] = shown.get(place, 0) + 1
        if shown[place] > _SAMPLES_PER_GROUP:
            continue
        cuts = task.conversation.list_cuts()
        prompt = " ".join("♪" if hasattr(t, "cut") else t.value for t in task.conversation.turns[:-1])
        rows.append(
            {
                "kind": task.kind if not task.group else f"{task.kind} ({task.group})",
                "prompt": prompt,
                "audio": cuts[0].recording.sources[0].source if cuts else None,
                "reference": task.reference,
                "before": was,
                "after": now,
                "correct_before": correct(task, was),
                "correct_after": correct(task, now),
            }
        )
    return rows


def _say(report: dict[str, Any], folder: Path) -> None:
    wer, text = report["wer"], report["text"]
    groups = {name: row for name, row in wer.items() if isinstance(row, dict) and name != "by_language"}
    people = {f"people, {code}": row for code, row in wer["by_language"].items()}
    for name, row in {"": wer, **groups, **people}.items():
        print(_line(f"Word error rate {name}", row))
    for kind in ("sqa", "mixed"):
        asked = {name: row for name, row in report[kind].items() if isinstance(row, dict)}
        for name, row in {"": report[kind], **asked}.items():
            print(_line(f"{kind} answered exactly {name}".rstrip(), row))
    kept = {"before": text["score_before"], "after": text["score_after"], "n": text["n"]}
    print(_line("Text suite", kept), f"KL to the untouched LLM {text['kl_to_base']:.3f} nats")
    print(f"{report['seconds']:.0f} s in all. Report: {folder / 'report.html'}")
    print(f"Talk to it: vtb chat {folder / 'last.ckpt'}")


def _line(name: str, row: dict[str, Any]) -> str:
    return f"{name:32} {row['before']:7.1%} -> {row['after']:6.1%}  (n={row['n']})"
