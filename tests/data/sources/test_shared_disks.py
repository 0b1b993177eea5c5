"""Disks of other people: read-only, full, shared; nothing partial stays, and reading needs no write permission."""

import gzip
import os
import subprocess
import sys
from shutil import which

import pytest

from nemo_vtb.data.sources import disk
from nemo_vtb.errors import VTBError


def full(file):
    file.write(b"some")
    raise OSError(28, "No space left on device")


def there(place):
    return place.is_file()


def test_what_does_not_fit_in_one_place_goes_to_the_next_and_leaves_nothing(tmp_path):
    places = [tmp_path / "a" / "x", tmp_path / "b" / "x"]
    tried = []

    def write(file):
        tried.append(file.name)
        full(file) if len(tried) == 1 else file.write(b"whole")

    assert disk.keep(places, write, there, "it") == places[1]
    assert places[1].read_bytes() == b"whole" and not places[0].parent.exists()
    with pytest.raises(VTBError, match=r"it cannot be kept anywhere \(.*/c: No space left.*NEMO_VTB_CACHE"):
        disk.keep([tmp_path / "c" / "x"], full, there, "it")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


def test_what_a_killed_process_left_is_taken_away(tmp_path):
    (tmp_path / "x.123.partial").write_bytes(b"half")
    disk.keep([tmp_path / "x"], lambda file: file.write(b"whole"), there, "it")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.lock"]


def test_a_copy_that_is_there_is_read_without_the_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("NEMO_VTB_CACHE", str(tmp_path / "cache"))
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"x": 1}\n'))
    copy = disk.plain(packed)
    assert copy.read_bytes() == b'{"x": 1}\n'
    for lock in copy.parent.glob("*.lock"):
        lock.unlink()
        lock.mkdir()  # nobody can open it
    disk._unpacked.cache_clear()
    assert disk.plain(packed) == copy


@pytest.mark.skipif(os.getuid() != 0 or not which("setpriv"), reason="needs root and setpriv to become two users")
def test_two_users_share_a_cache(tmp_path):
    # Whoever asks ``access`` asks without the capabilities below, so every folder up to the temporary one opens.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o055 != 0o055:
            folder.chmod(0o755)
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o2777)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b'{"x": 1}\n'))
    code = (
        "import os, sys; os.umask(0o022)\n"
        "from pathlib import Path\nfrom nemo_vtb.data.sources.disk import plain\nprint(plain(Path(sys.argv[1])))"
    )
    environment = {**os.environ, "NEMO_VTB_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    for user in ("2001", "2002"):
        # Who may read everything, and write only what is his.
        become = ["setpriv", f"--reuid={user}", "--regid=5000", "--clear-groups", "--inh-caps=+dac_read_search",
                  "--ambient-caps=+dac_read_search"]  # fmt: skip
        command = [sys.executable, "-c", code, str(tmp_path / "rows.jsonl.gz")]
        run = subprocess.run([*become, *command], env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("content", [b'{"x": 1}\n', b"<html>not here</html>"])
def test_a_gz_that_is_none_is_named(tmp_path, content):
    (tmp_path / "rows.jsonl.gz").write_bytes(content)
    with pytest.raises(VTBError, match=r"rows\.jsonl\.gz is no gzip file in spite of its name"):
        disk.plain(tmp_path / "rows.jsonl.gz")
