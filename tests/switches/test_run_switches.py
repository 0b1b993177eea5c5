"""The switches of ``switch_table.py``, in ``vtb train`` and through NeMo's launcher."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from switch_table import GUIDE, REFUSED, WORKS, written

from nemo_vtb import training
from nemo_vtb.cli import main
from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.switches import check
from nemo_vtb.switches.check import check_run
from nemo_vtb.switches.precision import resolve_precision

RUNS = list(dict.fromkeys(row.run for row in WORKS))


class Seen(Callback):
    """What a run went through."""

    def __init__(self) -> None:
        self.samples: list[list[str]] = []
        self.validations: list[int] = []
        self.first: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer: Any, model: Any) -> None:
        self.first = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def on_train_batch_start(self, trainer: Any, model: Any, batch: Any, batch_idx: int) -> None:
        self.samples.append([conversation.id for conversation in batch["conversations"]])

    def on_validation_end(self, trainer: Any, model: Any) -> None:
        self.validations.append(trainer.global_step)


@pytest.fixture
def folder(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``mine.yaml``, two steps of a tiny model; the working directory."""
    config = json.loads((run_folder / "config.json").read_text())
    config["model"]["lr_scheduler"] = {"_target_": "torch.optim.lr_scheduler.ConstantLR"}
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = {"accelerator": "cpu", "devices": 1, "max_steps": 2, "log_every_n_steps": 1, "num_sanity_val_steps": 0}
    trainer |= dict.fromkeys(quiet, False)
    config["trainer"] = {**trainer, "default_root_dir": str(run_folder / "run")}
    config["exp_manager"] = None
    (run_folder / "mine.yaml").write_text(OmegaConf.to_yaml(config))
    monkeypatch.chdir(run_folder)
    return run_folder


def hydra(overrides: str) -> list[str]:
    """Overrides as they are typed where a config has the section already."""
    return [word if word.startswith("+model") else f"++{word}" for word in overrides.split()]


def run_of(name: str) -> list[str]:
    more = {
        "overfit": ["++trainer.max_steps=-1", "++trainer.max_epochs=2"],
        "share": ["++trainer.max_steps=-1", "++trainer.max_epochs=1", "++trainer.limit_val_batches=0"],
        "counts": ["++trainer.max_steps=6"],
        "time": ["++trainer.max_steps=-1", "++trainer.limit_val_batches=0"],
        "timed": ["++trainer.max_steps=-1", "++trainer.limit_val_batches=0", "exp_manager={explicit_log_dir:managed}",
                  "++exp_manager.create_checkpoint_callback=false",
                  "++trainer.callbacks=[{_target_:nemo_vtb.callbacks.last_checkpoint.LastCheckpoint}]",
                  "++trainer.enable_checkpointing=true", "++exp_manager.create_tensorboard_logger=false"],
        "clipped": ["++model.optimizer._target_=torch.optim.SGD", "++model.optimizer.lr=1.0"],
        "bare": ["++trainer.limit_val_batches=0"],
        "managed": ["exp_manager={}", "++trainer.val_check_interval=1", "++trainer.check_val_every_n_epoch=null"],
    }  # fmt: skip
    return [*more.get(name, []), *(word for row in WORKS if row.run == name for word in hydra(row.override))]


def epochs(trainer: Any, seen: Seen, model: Any, folder: Path) -> None:
    length = trainer.num_training_batches
    assert trainer.current_epoch == 2 and trainer.global_step == 2 * length
    half = length // 2
    assert seen.validations == [half, 2 * half, length + half, length + 2 * half]
    rows = {f"t{number}" for number in range(12)} | {f"a{number}" for number in range(4)}
    assert {sample for batch in seen.samples[:length] for sample in batch} >= rows
    assert not {sample for batch in seen.samples[: length - 1] for sample in batch} >= rows


def overfit(trainer: Any, seen: Seen, model: Any, folder: Path) -> None:
    assert len(seen.samples) == 4 and seen.samples[:2] == seen.samples[2:] and seen.samples[0] != seen.samples[1]


def clipped(trainer: Any, seen: Seen, model: Any, folder: Path) -> None:
    moved = max(float((p - seen.first[n]).abs().max()) for n, p in model.named_parameters() if n in seen.first)
    assert trainer.global_step == 2 and len(seen.samples) == 4 and 0 < moved <= 0.0021


def half(trainer: Any, seen: Seen, model: Any, folder: Path) -> None:
    assert trainer.precision == "bf16-true" and trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0)


def managed(trainer: Any, seen: Seen, model: Any, folder: Path) -> None:
    kept = list((folder / "managed" / "checkpoints").glob("*.ckpt"))
    assert len(kept) == 2 and list((folder / "managed").glob("events.out.tfevents*"))
    assert {type(callback).__name__ for callback in trainer.callbacks} >= {"EarlyStopping", "TimingCallback"}


CHECKS: dict[str, Callable[[Any, Seen, Any, Path], None]] = {
    "epochs": epochs,
    "overfit": overfit,
    "clipped": clipped,
    "half": half,
    "managed": managed,
    "time": lambda trainer, *_: _true(trainer.global_step >= 2),
    "timed": lambda trainer, seen, model, folder: _true((folder / "managed" / "checkpoints" / "last.ckpt").is_file()),
    "share": lambda trainer, seen, *_: _true(
        trainer.current_epoch == 1 and len(seen.samples) == trainer.num_training_batches
    ),
    "counts": lambda trainer, seen, *_: _true(trainer.current_epoch == 2 and seen.validations == [3, 6]),
    "trial": lambda trainer, seen, model, folder: _true(trainer.global_step == 2 and not (folder / "run").exists()),
    "careful": lambda trainer, seen, model, folder: _true(
        seen.validations[0] == 0 and list((folder / "run").rglob("*.ckpt")) and list((folder / "run").rglob("events*"))
    ),
    "bare": lambda trainer, seen, model, folder: _true(trainer.barebones and (folder / "run" / "last.ckpt").is_file()),
    "mixed": lambda trainer, seen, model, folder: _true(
        trainer.precision == "bf16-mixed" and list((folder / "csv").rglob("metrics.csv"))
    ),
    "fp16": lambda trainer, *_: _true(trainer.precision == "fp16-true"),
}


def _true(holds: object) -> None:
    assert holds


@pytest.mark.parametrize("name", RUNS)
def test_it_works(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    seen, built, build = Seen(), [], training.build
    monkeypatch.setattr(training, "build", lambda cfg, more: built.append(build(cfg, [*more, seen])) or built[-1])
    try:
        assert main(["train", "--config-name=mine", f"--config-dir={folder}", *run_of(name)]) == 0
    finally:
        torch.use_deterministic_algorithms(False)
        torch.autograd.set_detect_anomaly(False)
    trainer, model, _ = built[0]
    assert trainer.global_step >= 2
    CHECKS[name](trainer, seen, model, folder)


def test_it_is_refused_in_one_sentence_before_anything_is_loaded(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    # Lightning leaves them behind in a process that has trained.
    for name in check.OTHER_NODES:
        monkeypatch.delenv(name, raising=False)
    said = {}
    for row in REFUSED:
        line = ["train", "--config-name=mine", f"--config-dir={folder}", "++model.pretrained_llm=nowhere"]
        section = ["exp_manager={}"] if row.overrides.startswith("exp_manager") else []
        # A section of the config takes the place of a whole one, so that keys of another class are gone.
        assert main([*line, *section, *hydra(row.overrides)]) == 2, row.overrides
        said[row.overrides] = capsys.readouterr().err.strip().splitlines()[-1]
    assert not {row.overrides: said[row.overrides] for row in REFUSED if said[row.overrides] != f"vtb: {row.sentence}"}


def test_the_guide_has_the_table(folder: Path):
    guide = GUIDE.read_text(encoding="utf-8")
    assert written(guide) == guide, "write it anew: python tests/switches/switch_table.py"


@pytest.mark.parametrize(
    ("spelled", "means"),
    [(16, "16-mixed"), ("16", "16-mixed"), ("16-mixed", "16-mixed"), ("16-true", "fp16-true"), ("fp16-true",) * 2,
     ("bf16", "bf16-mixed"), ("bf16-mixed",) * 2, ("bf16-true",) * 2, (32, "32-true"), ("32", "32-true"),
     ("32-true",) * 2, (None, None)],
)  # fmt: skip
def test_every_spelling_of_a_precision_means_one_thing(spelled: Any, means: str | None):
    assert resolve_precision(spelled) == means


def test_a_run_without_an_end_is_told_where_the_share_ends(folder: Path, capsys: pytest.CaptureFixture):
    shares = "++data.train_ds.blend.kinds.text.share={0:0.5,1:0}"
    line = ["train", "--config-name=mine", f"--config-dir={folder}", shares, "++trainer.max_steps=-1"]
    assert main([*line, "++trainer.max_epochs=1"]) == 2
    assert "the share of text falls to 0 before its last conversation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "++trainer.logger={_target_:lightning.pytorch.loggers.CSVLogger,save_dir:x}",
            "NeMo's launchers build no logger",
        ),
        ("++trainer.precision=16-true", "fp16-true"),
        ("++trainer.sync_batchnorm=true", "would hang"),
    ],
)
def test_launchers_are_told_what_they_would_pass_over(override: str, sentence: str, folder: Path):
    with pytest.raises(VTBError, match=sentence):
        check_run(compose("mine", [override], folder), of_launcher=True)


def test_a_run_that_is_over_before_its_first_checkpoint_keeps_its_weights(folder: Path):
    best = "{_target_:lightning.pytorch.callbacks.ModelCheckpoint,monitor:val_loss}"
    line = ["train", "--config-name=mine", f"--config-dir={folder}", "++trainer.enable_checkpointing=true"]
    line += [f"++trainer.callbacks=[{best}]", "++trainer.val_check_interval=50"]
    assert main([*line, "++trainer.check_val_every_n_epoch=null"]) == 0
    assert (folder / "run" / "last.ckpt").is_file()


def test_the_last_checkpoint_is_kept_without_a_validation(folder: Path):
    line = ["train", "--config-name=mine", f"--config-dir={folder}", "++trainer.enable_checkpointing=true"]
    last = "{_target_:lightning.pytorch.callbacks.ModelCheckpoint,monitor:val_loss,save_last:true,dirpath:own}"
    assert main([*line, "++trainer.limit_val_batches=0", f"++trainer.callbacks=[{last}]"]) == 0
    assert (folder / "own" / "last.ckpt").is_file()
    managed = "{explicit_log_dir:managed,create_tensorboard_logger:false,create_checkpoint_callback:true}"
    assert main([*line[:-1], "++trainer.limit_val_batches=0", f"exp_manager={managed}"]) == 0
    assert list(folder.glob("managed/checkpoints/*last.ckpt"))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("++trainer.limit_val_batches=0.0001", "trainer: You requested to check 0.0001 of the `val_dataloader`"),
        ("++data.train_ds.prompt_format=plain", "the model would be asked in another format than it learns"),
        ("++data.validation_ds.prompt_format=plain", "the model would be asked in another format than it learns"),
    ],
)
def test_what_the_data_show_and_formats_that_differ_are_refused(override: str, sentence: str, folder: Path):
    with pytest.raises(VTBError, match=sentence):
        training.train(compose("mine", [override], folder))


def test_a_callback_of_ones_own_may_log_what_others_wait_for(folder: Path):
    class Own(Callback):
        def on_validation_epoch_end(self, trainer: Any, model: Any) -> None:
            model.log("val_own", 1.0)

    stopping = "++trainer.callbacks=[{_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val_own}]"
    cfg = compose(
        "mine", [stopping, "++trainer.val_check_interval=1", "++trainer.check_val_every_n_epoch=null"], folder
    )
    trainer, model, datamodule = training.build(cfg, [Own()])
    trainer.fit(model, datamodule)
    assert trainer.callback_metrics["val_own"] == 1.0
