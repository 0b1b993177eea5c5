"""Whoever has one of our classes may name strategies and callbacks of ours in the trainer that is built next."""

import os
import shutil
from pathlib import Path

import pytest
from forks import Forks

from nemo_vtb.cli import main
from nemo_vtb.paths import config_dir

WAYS = [
    *(f"from nemo_vtb import {name}" for name in ("VoiceTextBlender", "VTBDataModule", "VTBDataset", "ChatSession")),
    "import nemo_vtb.models.voice_text_blender",
    "import nemo_vtb.data.datamodule",
    "from nemo_vtb.registry import register; register()",
]
SCRIPT = """
import sys
from lightning.pytorch import Trainer
from nemo.utils.trainer_utils import resolve_trainer_cfg
from omegaconf import OmegaConf

assert not any(name.startswith("nemo_vtb") for name in sys.modules)
exec(sys.argv[1])
last = {"_target_": "nemo_vtb.callbacks.last_checkpoint.LastCheckpoint"}
trainer = {"accelerator": "cpu", "devices": 1, "strategy": "vtb_fsdp2", "callbacks": [last], "logger": False}
made = Trainer(**resolve_trainer_cfg(OmegaConf.create(trainer)))
print("READY", type(made.strategy).__name__, type(made.checkpoint_callback).__name__)
"""


def test_every_import_comes_with_what_a_config_may_name(forked: Forks, tmp_path: Path):
    script = tmp_path / "named.py"
    script.write_text(SCRIPT)
    for way, (_, said) in forked.run([(way, [way]) for way in WAYS], tmp_path, str(script)).items():
        assert "READY ShardedStrategy LastCheckpoint" in said, f"{way}: {said}"


def test_the_example_takes_the_clusters_line(tiny_llm: Path, tiny_whisper: Path, forked: Forks, tmp_path: Path):
    script = str(config_dir().parent / "examples" / "vtb_train.py")
    adapter = [f"++model.perception.modality_adapter.{size}" for size in ("d_model=32", "n_heads=4", "n_layers=1")]
    models = [f"model.pretrained_llm={tiny_llm}", f"model.pretrained_asr={tiny_whisper}", *adapter]
    short = ["data.train_ds.batch_tokens=512", "trainer.max_steps=1", "++trainer.limit_val_batches=0"]
    line = ["--config-name=quickstart", *models, *short, "+cluster=slurm", "+trainer.strategy=vtb_fsdp2"]
    variables = {"VTB_DEVICES": "1", "VTB_NODES": "1", "VTB_RUN": "the_run"}
    [(code, said)] = forked.run([("example", line)], tmp_path, script, **variables).values()
    assert code == 0, said
    assert len(list(tmp_path.rglob("the_run/checkpoints/last.ckpt"))) == 1


@pytest.mark.parametrize("place", ["where nothing is kept", "LastCheckpoint", "exp_manager", "a logger"])
def test_a_folder_that_cannot_be_written_to_is_found_before_the_model_is_loaded(
    place: str, run_folder: Path, capsys: pytest.CaptureFixture
):
    shutil.copy(run_folder / "config.json", run_folder / "mine.yaml")
    (run_folder / "file").touch()
    bad = run_folder / "file" / "run"
    last = f"{{_target_:nemo_vtb.callbacks.last_checkpoint.LastCheckpoint,dirpath:{bad}}}"
    csv = f"{{_target_:lightning.pytorch.loggers.CSVLogger,save_dir:{bad}}}"
    trainer = "{accelerator:cpu,devices:1,max_steps:1,logger:false,enable_checkpointing:false,default_root_dir:%s}"
    more = {
        "where nothing is kept": [f"+trainer={trainer % bad}"],
        "LastCheckpoint": [
            f"+trainer={trainer % 'run'}",
            "trainer.enable_checkpointing=true",
            f"+trainer.callbacks=[{last}]",
        ],
        "exp_manager": [f"+trainer={trainer % 'run'}", f"+exp_manager={{explicit_log_dir:{bad}}}"],
        "a logger": [f"+trainer={trainer % (run_folder / 'run')}", f"trainer.logger={csv}"],
    }
    line = ["train", "--config-name=mine", f"--config-dir={run_folder}", "model.pretrained_llm=nowhere"]
    assert main([*line, *more[place]]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Not a directory" in said and str(run_folder / "file") in said and os.linesep not in said
