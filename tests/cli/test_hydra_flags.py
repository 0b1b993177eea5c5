"""What people of Hydra type: flags, several folders of configs, and where ``vtb`` says which command does it."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemo_vtb.cli import main
from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError


def _said(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str, list[str]]:
    code = main(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, [line for line in printed.err.splitlines() if line.startswith("vtb")]


def test_the_composed_config_is_printed_in_a_fresh_process(tmp_path: Path):
    command = [sys.executable, "-m", "nemo_vtb.cli", "train", "--config-name=quickstart", "--cfg", "job", "--resolve"]
    done = subprocess.run([*command, "seed=7", "lora=r8"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "seed: 7" in done.stdout and "r: 8" in done.stdout and "${" not in done.stdout


def test_a_section_and_the_way_a_config_is_put_together(capsys: pytest.CaptureFixture):
    code, printed, _ = _said(capsys, "eval", "shipped", "--cfg", "job", "--package", "eval.text")
    assert code == 0 and "smollm2_chat/suite.jsonl" in printed and "batch_size" not in printed
    code, printed, _ = _said(capsys, "preview", "--config-name=quickstart", "--info", "defaults")
    assert code == 0 and "smollm2_whisper" in printed


def test_several_folders_of_configs(capsys: pytest.CaptureFixture, tmp_path: Path):
    for name, text in {"a": "defaults: [lora: own, _self_]\nseed: 1\n", "b": "lora_alpha: 5\n"}.items():
        (tmp_path / name / "lora").mkdir(parents=True)
        (tmp_path / name / {"a": "mine.yaml", "b": "lora/own.yaml"}[name]).write_text(text)
    folders = [f"--config-dir={tmp_path / name}" for name in ("a", "b")]
    code, printed, _ = _said(capsys, "train", "--config-name=mine", *folders, "--cfg", "job")
    assert code == 0 and "lora_alpha: 5" in printed and "seed: 1" in printed
    # The shipped groups are there too.
    code, printed, _ = _said(capsys, "train", "-cn", "mine", *folders, "--cfg", "job", "lora=r8")
    assert code == 0 and "r: 8" in printed
    own = f"hydra.searchpath=[file://{tmp_path / 'b'}]"
    code, printed, _ = _said(capsys, "train", "-cn", "mine", folders[0], "--cfg", "job", own)
    assert code == 0 and "lora_alpha: 5" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--config-name=quickstart", "trainer.max_steps=1,2"], "vtb train --multirun"),
        (["eval", "shipped", "--multirun", "seed=1,2"], "vtb train --multirun"),
        (["train", "--config-name=quickstart", "--odd"], "--odd"),
        (["train", "--config-name=quickstart", "odd"], "'odd' is no override"),
        (["train", "--config-name=quickstart", "--resolve"], "add --cfg job"),
        (["train", "--config-name=quickstart", "hydra.run.dir=out"], "trainer.default_root_dir"),
        (["quickstart", "++hydra.job.chdir=true"], "makes no folder of Hydra's"),
        (["train", "--config-name=quickstart", "hydra/launcher=basic"], "vtb train --multirun"),
        (["train", "--config-name=quickstart", "--config-dir=nowhere"], "--config-dir"),
        (["train", "--config-name=quickstart", "trainer.odd=1"], "+trainer.odd=1"),
        (["export", "shipped", "--to=slim", "--out=x", "--cfg", "job"], "--config-name NAME"),
    ],
)
def test_what_cannot_be_done_is_one_line(capsys: pytest.CaptureFixture, arguments: list[str], said: str):
    code, _, lines = _said(capsys, *arguments)
    assert code == 2 and len(lines) == 1 and said in lines[0], lines


def test_what_hydra_would_be_told_not_to_do_is_so_anyway(capsys: pytest.CaptureFixture):
    asked = ("hydra.run.dir=.", "++hydra.job.chdir=False", "hydra.output_subdir=null")
    code, printed, _ = _said(capsys, "train", "--config-name=quickstart", *asked, "--cfg", "job")
    assert code == 0 and "pretrained_llm" in printed


def test_a_file_that_is_no_config_is_one_line(capsys: pytest.CaptureFixture, tmp_path: Path):
    for name, text in {"list": "- a\n- b\n", "broken": "a: [1\nb: 2\n", "cut": "a: ${b\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        code, _, lines = _said(capsys, "train", f"--config-name={name}", f"--config-dir={tmp_path}")
        assert code == 2 and len(lines) == 1 and f"'{name}'" in lines[0], lines


def test_a_sweep_trains_each_combination_into_a_folder_of_its_own(
    capsys: pytest.CaptureFixture, workplace: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config = ["--config-name=training", f"--config-dir={workplace.configs}", "--multirun"]
    code, _, lines = _said(capsys, "train", *config, "trainer.default_root_dir=null", "model.optimizer.lr=1e-3,1e-2")
    assert code == 0, lines
    assert len(list(tmp_path.glob("multirun/*/*/*/last.ckpt"))) == 2
    code, _, lines = _said(capsys, "train", *config, "model.lora.r=odd,1")
    assert code == 2 and len(lines) == 1 and "model.lora.r" in lines[0], lines


def test_runs_of_a_sweep_do_not_go_on_from_one_another(
    capsys: pytest.CaptureFixture, workplace: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    line = ["train", "--config-name=training", f"--config-dir={workplace.configs}", "--multirun", "seed=1,2"]
    manager = {"resume_if_exists": "true", "resume_ignore_no_checkpoint": "true", "create_checkpoint_callback": "false"}
    line += [f"++exp_manager.{key}={value}" for key, value in manager.items()]
    line += ["++trainer.logger=false", "++trainer.enable_checkpointing=true", "++trainer.limit_val_batches=0"]
    line += ["++trainer.default_root_dir=null"]
    line += ["++trainer.callbacks=[{_target_:nemo_vtb.callbacks.last_checkpoint.LastCheckpoint}]"]

    def said(*more: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["vtb", *line, *more])
        code, _, lines = _said(capsys, *line, *more)
        return code, lines

    for more in (["++exp_manager.explicit_log_dir=mine"], ["++exp_manager.exp_dir=mine", "++exp_manager.name=n"]):
        code, lines = said(*more)
        assert code == 2 and len(lines) == 1 and "each would go on from the one before" in lines[0]
        assert "=mine/${hydra:job.override_dirname}'" in lines[0] and not (tmp_path / "mine").exists()
    assert said("++exp_manager.explicit_log_dir='mine/${hydra:job.num}'")[0] == 0
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("last.ckpt")) == [
        "mine/0/checkpoints/last.ckpt",
        "mine/1/checkpoints/last.ckpt",
    ]


def test_help_names_configs_groups_and_overrides(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    for said in ("canary_gemma", "lora=r16", "+key=value", "--multirun", "--cfg job"):
        assert said in printed


def test_a_group_is_added_to_a_config_in_a_folder(tmp_path: Path):
    """Shipped, one's own, and with a group that stands beside one's own config: Hydra's way, which goes before."""
    (tmp_path / "first" / "cluster").mkdir(parents=True)
    (tmp_path / "first" / "cluster" / "mine.yaml").write_text("# @package _global_\nname: beside\n")
    config = "# @package _global_\ndefaults: [/quickstart@_global_]\nname: small\n"
    (tmp_path / "first" / "small.yaml").write_text(config)
    shipped = compose("recipes/public", ["+cluster=slurm", "data_root=/data", "lora=r32"])
    assert shipped.exp_manager.resume_if_exists and shipped.data_root == "/data" and shipped.model.lora.r == 32
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "small.yaml").write_text(config)
    own = compose("second/small", ["+cluster=slurm"], tmp_path)
    assert own.exp_manager.resume_if_exists and own.name == "small"
    assert compose("first/small", ["+cluster=mine"], tmp_path).name == "beside"
    with pytest.raises(VTBError, match="Available options in 'cluster': slurm"):
        compose("second/small", ["+cluster=slurmy"], tmp_path)


def test_a_cluster_leaves_a_config_its_callbacks(tmp_path: Path):
    stop = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: %s}"
    own = [stop % "val_loss", stop % "val_acc"]
    last = "{_target_: nemo_vtb.callbacks.last_checkpoint.LastCheckpoint, every_n_train_steps: 20}"
    for name, callbacks in {"stops": own, "keeps": [*own, last]}.items():
        text = f"defaults: [quickstart, _self_]\ntrainer:\n  callbacks: [{', '.join(callbacks)}]\n"
        (tmp_path / f"{name}.yaml").write_text(text)

    def composed(name: str, *more: str) -> list[str | int]:
        found = compose(name, ["+cluster=slurm", "lora=r8", *more], tmp_path).trainer.callbacks
        return [callback.get("monitor", callback.get("every_n_train_steps")) for callback in found]

    assert composed("stops") == [1000, "val_loss", "val_acc"] and composed("quickstart") == [1000]
    assert composed("keeps") == [20, "val_loss", "val_acc"], "what it says of the same callback is kept"
    assert composed("keeps", "trainer.callbacks.0.every_n_train_steps=7", "model.text_kl=1") == [
        7,
        *composed("stops")[1:],
    ]
    assert composed("keeps", f"trainer.callbacks=[{last}]") == [20], "what is typed is what is meant"


@pytest.mark.parametrize(
    ("command", "override"),
    [
        (["study"], "claims.nothere.arm=x"),
        (["study", "--cfg", "job"], "claims.nothere.arm=x"),
        (["doctor", "--config-name=quickstart"], "model.freeze_params.x=1"),
        (["train", "--config-name=quickstart", "--multirun", "seed=1,2"], "model.freeze_params.x=1"),
        (["synth", "text", "llm.model=x", "out=unused"], "categories.first=brainstorming"),
        (["doctor", "--config-name=quickstart"], "lora=3"),
        (["doctor", "--config-name=quickstart"], "~lora=3"),
    ],
)
def test_an_override_that_does_not_fit_is_named(
    command: list[str], override: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    code, _, (line,) = _said(capsys, *command, override)
    assert code == 2 and f"'{override}'" in line
    assert ("lora=NAME" if "lora" in override else "by their number") in line
    assert not (tmp_path / "unused").exists()


def test_rules_of_a_claim_are_a_list(capsys: pytest.CaptureFixture, tmp_path: Path):
    code, _, (line,) = _said(capsys, "study", f"out={tmp_path / 'study'}", "claims.0.evidence=3")
    assert code == 2 and "claims.0.evidence is 3; it is a list of rules" in line
