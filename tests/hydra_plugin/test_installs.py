"""A wheel, ``pip install .`` and an editable install: each puts the plugin where Hydra looks, with its configs."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# As NeMo's hydra_runner does it, without NeMo.
APPLICATION = """
import hydra
@hydra.main(config_path=None, version_base=None)
def train(cfg):
    print("TRAINED", cfg)
train()
"""


class Environment:
    """A virtual environment that sees this one's packages, but not this one's install of ours."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = str(folder / "bin" / "python")
        self.site = next(folder.glob("lib/python*/site-packages"))
        for package in Path(sysconfig.get_path("purelib")).iterdir():
            if "nemo_vtb" not in package.name and package.name != "hydra_plugins":
                (self.site / package.name).symlink_to(package)

    def install(self, *what: str) -> None:
        command = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--force-reinstall", *what]
        self._call(sys.executable, "-m", "pip", "--python", self.python, *command)

    def run(self, folder: Path, *arguments: str) -> str:
        return self._call(self.python, *arguments, cwd=folder, check=False)

    def _call(self, *command: str, cwd: Path | None = None, check: bool = True) -> str:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment") / "venv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The sdist, and the wheel from what is in it.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    return next(folder.glob("*.whl"))


def test_without_the_plugin_hydra_stops(environment, tmp_path):
    (tmp_path / "app.py").write_text(APPLICATION)
    said = environment.run(tmp_path, "app.py", "+vtb@_global_=default")
    assert "config group 'vtb' does not exist" in said and "TRAINED" not in said


def test_a_wheel_trains_with_the_one_line(environment, wheel, launcher_folder, tmp_path):
    environment.install(str(wheel))
    said = environment.run(launcher_folder, "launcher.py", "+vtb@_global_=default", "+lora=r8")
    assert "TRAINED VoiceTextBlender VTBDataset VTBDataModule 1 8" in said, said
    assert (environment.site / "nemo_vtb" / "launch" / "scripts" / "train.sbatch").is_file()
    templates = "nemo_vtb/pages/templates"
    assert {path.name for path in (REPOSITORY / templates).iterdir()} == {
        path.name for path in (environment.site / templates).iterdir()
    }
    for command in ("quickstart", "chat"):
        lines = environment.run(tmp_path, "-m", "nemo_vtb.cli", command).splitlines()
        assert "clone the repository of nemo_vtb and run the command in its folder" in lines[-1], lines
    assert "quickstart " in environment.run(tmp_path, "-m", "nemo_vtb.cli", "config", "list")
    entries = "nemo_run.cli", "vllm.general_plugins"
    entry = f"from importlib.metadata import entry_points as e; print([p.value for g in {entries} for p in e(group=g)])"
    found = environment.run(launcher_folder, "-c", entry)
    assert "'nemo_vtb.launch.recipes'" in found and "'nemo_vtb.registry:register_with_vllm'" in found, found


@pytest.mark.parametrize("how", ["from the folder", "editable"])
def test_an_install_is_found_by_hydra(how, environment, tmp_path):
    environment.install(*([] if how == "from the folder" else ["-e"]), str(REPOSITORY))
    assert (environment.site / "nemo_vtb" / "__init__.py").is_file() == (how == "from the folder")
    (tmp_path / "app.py").write_text(APPLICATION)
    said = environment.run(tmp_path, "app.py", "+vtb@_global_=default", "+lora=r32", "--cfg=all")
    assert "nemo_vtb.hydra_plugin.use_vtb.UseVTB" in said and "r: 32" in said, said


@pytest.mark.network
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_there_are_versions_of_all_that_every_extra_brings(python: str, tmp_path: Path):
    """Of all extras together, and so of each; ``.ci/installs`` installs and imports them."""
    links = [f"--find-links={os.environ['PIP_FIND_LINKS']}"] if "PIP_FIND_LINKS" in os.environ else []
    asked = ["--all-extras", "--python-version", python, *links, "--output-file", tmp_path / "found.txt"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *asked, REPOSITORY / "pyproject.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "nemo-toolkit==3.0.0" in (tmp_path / "found.txt").read_text()
