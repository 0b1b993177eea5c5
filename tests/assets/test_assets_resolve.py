import subprocess
import sys
from pathlib import Path

import pytest

from nemo_vtb.assets import CATALOG, resolve
from nemo_vtb.assets.install import install
from nemo_vtb.errors import VTBError

from .tiny import two_part_asset


def test_a_local_folder_or_file_is_returned_as_it_is(cache: Path, tmp_path: Path):
    checkpoint = tmp_path / "model.nemo"
    checkpoint.touch()
    assert resolve(str(tmp_path)) == str(tmp_path)
    assert resolve(str(checkpoint)) == str(checkpoint)
    assert not cache.exists()


def test_a_home_folder_is_written_out(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "llm").mkdir()
    assert resolve("~/llm") == str(tmp_path / "llm")


def test_a_hub_id_is_returned_unchanged(cache: Path):
    assert resolve("nvidia/canary-1b-flash") == "nvidia/canary-1b-flash"
    assert not cache.exists()


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_closest(cache: Path):
    with pytest.raises(VTBError, match=r"Did you mean 'smollm2-135m-instruct'") as error:
        resolve("SmolLM2-135M")
    assert all(name in str(error.value) for name in CATALOG)


@pytest.mark.parametrize("path", ["/no/such/folder", "./no_such_folder", "../no/such", "~/no/such"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(cache: Path, path: str):
    with pytest.raises(VTBError, match="does not exist"):
        resolve(path)


def test_a_ready_asset_needs_neither_packages_nor_network(
    cache: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asset = two_part_asset(shelf)
    folder = install(asset)
    monkeypatch.setitem(CATALOG, asset.name, asset)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no_python"))
    assert resolve("tiny") == str(folder)


def test_resolving_imports_nothing_heavy():
    code = (
        "import sys; from nemo_vtb.assets import resolve; resolve('org/name')\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'gguf', 'tqdm'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_asset_is_pinned_and_names_its_hub_alternative():
    for name, asset in CATALOG.items():
        assert name == asset.name
        assert asset.hub_id in asset.remedy
        assert all(len(package.sha256) == 64 and package.size > 0 for package in asset.packages)
