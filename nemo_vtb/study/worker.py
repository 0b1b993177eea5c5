"""``python -m nemo_vtb.study.worker FOLDER THREADS EVERY [WEIGHTS]``: one run of a study, alone in its process."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.whole_files import write_rows, write_text

if TYPE_CHECKING:
    from nemo_vtb.study.design.so_far import AskedSoFar

CHECKPOINT = "last.ckpt"
UNTOUCHED = "untouched.jsonl"
UNTOUCHED_SETTINGS = "untouched.settings.json"


def main(folder: Path, threads: int, every: int, weights: Path | None = None) -> int:
    """Trains unless that is done, measures, and writes ``arm.json``, which says that the run is finished.

    Both go on where they were stopped. With the folder of another run as ``weights``, those are measured and nothing is
    trained. An error a user can
    mend is printed without a traceback.
    """
    Thread(target=_end_with_parent, daemon=True).start()
    from nemo_vtb.study.design.so_far import AskedSoFar, forget_answers
    from nemo_vtb.study.design.way import marks
    from nemo_vtb.study.measure import check_questions

    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    percents = marks(settings["measure"].get("way"))
    try:
        check_questions(settings["training"], settings["measure"])
        if weights is not None:
            about = json.loads((weights / "train.json").read_text(encoding="utf-8"))
            write_text(folder / "train.json", json.dumps({**about, "seconds": 0.0, "cpu_seconds": 0.0}) + "\n")
        elif not (folder / "train.json").exists():
            train(settings["training"], folder, threads, percents, every)
        so_far = AskedSoFar(folder)
        if weights is None:
            for percent in percents:
                measure_on_the_way(settings, folder, threads, percent, so_far)
        measure(settings, folder, threads, (weights or folder) / CHECKPOINT, so_far)
    except VTBError as error:
        print(f"vtb: {error}", file=sys.stderr)
        return 2
    trained = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    took = so_far.took()
    seconds = {"train": trained["seconds"], "measure": took["seconds"]}
    cpu = {"train": trained.get("cpu_seconds", 0.0), "measure": took["cpu_seconds"]}
    write_text(folder / "arm.json", json.dumps({"seconds": seconds, "cpu_seconds": cpu, "threads": threads}) + "\n")
    forget_answers(folder)
    return 0


def train(training: dict[str, Any], folder: Path, threads: int, percents: Sequence[int], every: int) -> None:
    """Trains, keeps the trained weights and what the training took; ``train.json`` comes last."""
    from omegaconf import OmegaConf

    from nemo_vtb.callbacks.progress import KindProgress
    from nemo_vtb.callbacks.shares import RealisedShares
    from nemo_vtb.study.design.fit import fit, forget
    from nemo_vtb.study.design.way import OnTheWay

    progress, shares, way = KindProgress(), RealisedShares(), OnTheWay(folder, percents)
    cfg = OmegaConf.create({**training, "threads": threads})
    trainer, model, chosen = fit(cfg, [progress, shares, way], folder, every)
    trainer.save_checkpoint(folder / CHECKPOINT, weights_only=True)
    about = {
        "seconds": round(progress.train[-1]["seconds"], 1),
        "cpu_seconds": round(way.cpu_seconds, 1),
        "steps": trainer.global_step,
        "blend": {kind: dict(count) for kind, count in shares.counts.items()},
        "realised_share": shares.shares(cfg.data.train_ds.blend.get("unit", "supervised_tokens")),
        "padding_share": shares.padding_share,
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "history": progress.train,
        "chosen": {name: str(choice) for name, choice in chosen.items()},
    }
    write_text(folder / "train.json", json.dumps(about) + "\n")
    forget(folder)


def measure(settings: dict[str, Any], folder: Path, threads: int, checkpoint: Path, so_far: "AskedSoFar") -> None:
    """Asks everything and writes ``answers.jsonl``; the untouched LLM's own stand beside the arms, once for all."""
    from nemo_vtb.study.measure import Asking, written_parts
    from nemo_vtb.study.settings import untouched_settings

    section = settings["measure"]
    model = _loaded(section, threads, checkpoint)
    if "lora_scale" in section:
        model.backbone.lora_scale = section["lora_scale"]
    if "text_lora" in section:
        gated = section["text_lora"] == "audio_gated"
        if gated and not model.gated:
            model.backbone.install_gate()
        model.gated = gated
    asking = Asking(model, section)
    untouched = folder.parents[2] / UNTOUCHED
    if not untouched.exists():
        about = untouched_settings(settings["training"], section)
        write_text(untouched.with_name(UNTOUCHED_SETTINGS), json.dumps(about, indent=1, ensure_ascii=False) + "\n")
        write_rows(untouched, so_far.rows("untouched", written_parts(asking)))
    write_rows(folder / "answers.jsonl", so_far.rows("answers", asking.parts()))


def measure_on_the_way(
    settings: dict[str, Any], folder: Path, threads: int, percent: int, so_far: "AskedSoFar"
) -> None:
    """Asks what is asked on the way of the weights at a mark, which are then removed."""
    from nemo_vtb.study.design.way import answers_file, asked_on_the_way, weights_file
    from nemo_vtb.study.measure import Asking

    answers, checkpoint = answers_file(folder, percent), weights_file(folder, percent)
    if not answers.exists():
        section = asked_on_the_way(settings["measure"])
        parts = Asking(_loaded(section, threads, checkpoint), section).parts()
        write_rows(answers, so_far.rows(answers.stem, parts))
    checkpoint.unlink(missing_ok=True)


def _loaded(section: dict[str, Any], threads: int, checkpoint: Path) -> Any:
    from nemo_vtb.models.for_machine import use_for_answers
    from nemo_vtb.models.load import load_checkpoint

    used = use_for_answers(section.get("precision", "32-true"), section.get("device", "cpu"), threads)
    return load_checkpoint(checkpoint, section.get("device", "cpu"), used["precision"].value)


def _end_with_parent() -> None:
    """Waits for the parent's end of the pipe to be closed: it has ended."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(Path, sys.argv[4:])))
