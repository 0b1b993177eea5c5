"""``python -m nemo_vtb.study.worker FOLDER THREADS [WEIGHTS]``: one run of a study, alone in its process."""

import json
import os
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.shard import write_rows, write_text

CHECKPOINT = "last.ckpt"
UNTOUCHED = "untouched.jsonl"
UNTOUCHED_SETTINGS = "untouched.settings.json"


def main(folder: Path, threads: int, weights: Path | None = None) -> int:
    """Trains unless that is done, measures, and writes ``arm.json``, which says that the run is finished.

    With the folder of another run as ``weights``, those are measured and nothing is trained. An error a user can
    mend is printed without a traceback.
    """
    Thread(target=_end_with_parent, daemon=True).start()
    from nemo_vtb.study.measure import check_questions

    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    try:
        check_questions(settings["training"], settings["measure"])
        if weights is not None:
            about = json.loads((weights / "train.json").read_text(encoding="utf-8"))
            write_text(folder / "train.json", json.dumps({**about, "seconds": 0.0}) + "\n")
        elif not (folder / "train.json").exists():
            train(settings["training"], folder, threads)
        began = time.monotonic()
        measure(settings, folder, threads, (weights or folder) / CHECKPOINT)
    except VTBError as error:
        print(f"vtb: {error}", file=sys.stderr)
        return 2
    trained = json.loads((folder / "train.json").read_text(encoding="utf-8"))["seconds"]
    seconds = {"train": trained, "measure": round(time.monotonic() - began, 1)}
    write_text(folder / "arm.json", json.dumps({"seconds": seconds, "threads": threads}) + "\n")
    return 0


def train(training: dict[str, Any], folder: Path, threads: int) -> None:
    """Trains, keeps the trained weights and what the training took; ``train.json`` comes last."""
    from omegaconf import OmegaConf

    from nemo_vtb.callbacks.progress import KindProgress
    from nemo_vtb.callbacks.shares import RealisedShares
    from nemo_vtb.training import build, check_config, use_machine

    began = time.monotonic()
    progress, shares = KindProgress(), RealisedShares()
    cfg = OmegaConf.create({**training, "threads": threads})
    check_config(cfg)
    chosen = use_machine(cfg)
    trainer, model, datamodule = build(cfg, [progress, shares], chosen)
    trainer.fit(model, datamodule)
    trainer.save_checkpoint(folder / CHECKPOINT, weights_only=True)
    about = {
        "seconds": round(time.monotonic() - began, 1),
        "steps": trainer.global_step,
        "blend": {kind: dict(count) for kind, count in shares.counts.items()},
        "realised_share": shares.shares(cfg.data.train_ds.blend.get("unit", "supervised_tokens")),
        "padding_share": shares.padding_share,
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "history": progress.train,
        "chosen": {name: str(choice) for name, choice in chosen.items()},
    }
    write_text(folder / "train.json", json.dumps(about) + "\n")


def measure(settings: dict[str, Any], folder: Path, threads: int, checkpoint: Path) -> None:
    """Asks everything and writes ``answers.jsonl``; the untouched LLM's own stand beside the arms, once for all."""
    from nemo_vtb.models.for_machine import use_for_answers
    from nemo_vtb.models.load import load_checkpoint
    from nemo_vtb.study.measure import Asking, written_rows
    from nemo_vtb.study.settings import untouched_settings

    section = settings["measure"]
    used = use_for_answers(section.get("precision", "32-true"), section.get("device", "cpu"), threads)
    model = load_checkpoint(checkpoint, section.get("device", "cpu"), used["precision"].value)
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
        write_rows(untouched, written_rows(asking))
    write_rows(folder / "answers.jsonl", asking.rows())


def _end_with_parent() -> None:
    """Waits for the parent's end of the pipe to be closed: it has ended."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:])))
