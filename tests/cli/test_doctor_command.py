"""``vtb doctor``: what the machine can use, and the three lines of what a config would run with."""

import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemo_vtb.cli import main
from nemo_vtb.doctor import EXTRAS


def test_what_this_machine_can_use(capsys: pytest.CaptureFixture):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    begun = [line.partition(":")[0] for line in lines]
    for name in ("versions", "precision", "attention", "threads", "strategies", "extras", "kernels", "programs"):
        assert name in begun
    assert any("32-true" in line and "auto is" in line for line in lines)


def test_what_a_shipped_config_would_run_with_in_a_fresh_process(tmp_path: Path):
    command = [sys.executable, "-m", "nemo_vtb.cli", "doctor", "--config-name=quickstart", "threads=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["precision", "attention", "threads"]
    assert lines[2] == "threads: 1 (as the config says)"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("config", ["eval/quickstart", "study/quickstart", "reference"])
def test_every_kind_of_config_has_the_three_lines(config: str, capsys: pytest.CaptureFixture):
    assert main(["doctor", f"--config-name={config}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["precision", "attention", "threads"]


def test_overrides_and_what_is_wrong_are_named(workplace: SimpleNamespace, capsys: pytest.CaptureFixture):
    config = ["doctor", "--config-name=training", f"--config-dir={workplace.configs}"]
    assert main([*config, "trainer.precision=bf16-true", "model.attn_implementation=eager"]) == 0
    printed = capsys.readouterr().out
    assert "precision: bf16-true (as the config says)" in printed and "attention: eager (as" in printed
    assert main([*config, "trainer.precision=bf17"]) == 2
    assert "trainer.precision=bf17" in capsys.readouterr().err
    assert main(["doctor", "trainer.precision=bf16-true"]) == 2
    assert "--config-name" in capsys.readouterr().err


def test_all_that_is_asked_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["doctor", "--config-name=quickstart", f"--launcher={tmp_path / 'nothere.py'}"]) == 2
    assert "nothere.py" in capsys.readouterr().err
    (tmp_path / "empty.py").write_text("")
    assert main(["doctor", "--config-name=quickstart", f"--launcher={tmp_path / 'empty.py'}"]) == 1
    printed = capsys.readouterr().out
    assert "empty.py: does not import" in printed and "models: " in printed
    assert main(["doctor", f"--slurm={tmp_path}", "--memory", "--config-name=nothere"]) == 2
    assert "nothere" in capsys.readouterr().err
    assert main(["doctor", f"--slurm={tmp_path}", "--memory"]) == 2
    assert "--config-name" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["synth/text"], ["eval/judge"], ["eval/quickstart", "--memory"]])
def test_configs_of_other_commands_are_told_apart(words: list[str], capsys: pytest.CaptureFixture):
    assert main(["doctor", "--config-name", *words, *(["out=x", "llm.model=m"] if "synth/text" in words else [])]) == 2
    assert "vtb doctor reads configs of vtb train (quickstart)" in capsys.readouterr().err


def test_every_extra_is_looked_for():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"]) - {"dev"}
