import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_maker
from tiny_maker import tiny_job

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.job import Job, run_job
from nemo_vtb.synthesis.jobs.join import join
from nemo_vtb.synthesis.jobs.shard import Item, Shard, shard_path
from nemo_vtb.whole_files import read_rows


def made(folder: Path, **options: Any) -> Path:
    """Runs the tiny job to its end; returns the folder of the data."""
    folder.mkdir(exist_ok=True)
    tiny_maker.main(folder, options)
    return folder / "out"


def start(folder: Path, **options: Any) -> subprocess.Popen:
    """Runs the tiny job in a process of its own."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, tiny_maker.__file__, str(folder), json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def contents(out: Path) -> dict[str, bytes]:
    """Joined files and clips, all to the byte; how long it took is no part of it."""
    files = [*out.glob("*.jsonl"), *out.glob("shards/*/*.flac"), out / "settings.json"]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def left_over(out: Path) -> list[Path]:
    return [*out.glob(".*"), *out.glob("shards/.*")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed run makes."""
    return made(tmp_path_factory.mktemp("whole"))


def test_a_run_makes_every_item_once_and_joins(whole: Path):
    rows, bank, drops = (read_rows(whole / f"{name}.jsonl") for name in ("conversations", "bank", "drops"))
    assert [row["id"] for row in rows] == [f"item-{number:03d}" for number in range(20) if number % 7 != 3]
    assert [(row["id"], row["reason"], row["bad"]) for row in drops] == [
        (f"item-{number:03d}", "too long", False) for number in (3, 10, 17)
    ]
    samples, rate = soundfile.read(whole / bank[0]["audio_filepath"])
    assert (len(samples), rate, bank[0]["duration"]) == (1600, 16_000, 0.1)
    totals = json.loads((whole / "totals.json").read_text())
    assert totals["rows"] == {"bank": 17, "conversations": 17}
    assert totals["drops"] == {"too long": 3} and totals["bad"] == {}
    assert totals["amounts"]["audio_seconds"] == pytest.approx(1.7)
    assert len(totals["values"]["drawn"]) == len(set(totals["values"]["drawn"])) == 17
    assert totals["settings"]["style"] == "plain"
    assert not left_over(whole)


def test_another_seed_makes_other_data(whole: Path, tmp_path: Path):
    other = made(tmp_path, seed=6)
    assert (other / "drops.jsonl").read_bytes() == (whole / "drops.jsonl").read_bytes()
    assert (other / "conversations.jsonl").read_bytes() != (whole / "conversations.jsonl").read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_killed_amid_a_shard_goes_on_where_it_was(whole: Path, tmp_path: Path, processes: int):
    run = start(tmp_path, dying=7, processes=processes)
    said, _ = run.communicate(timeout=60)
    out = tmp_path / "out"
    if processes == 1:
        assert run.returncode == -signal.SIGKILL
        assert sorted(path.name for path in out.glob("shards/[0-9]*")) == ["00000", "00001"]
    else:
        # A process of the pool died, and its parent says so instead of waiting for it.
        assert run.returncode == 1 and "a process died (killed, or out of memory)" in said
    assert not shard_path(out, 2).exists() and not (out / "conversations.jsonl").exists()
    assert left_over(out), "the shard was half made"
    kept = {path: path.stat().st_mtime_ns for path in out.glob("shards/[0-9]*")}

    assert contents(made(tmp_path, dying=7)) == contents(whole)
    assert not left_over(out)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


def test_two_processes_and_two_parts_make_the_same_files_as_one(whole: Path, tmp_path: Path):
    assert contents(made(tmp_path / "processes", processes=2, dawdle=0.05)) == contents(whole)
    # A maker is opened once per process, however many shards it makes.
    opened = (tmp_path / "processes" / "opened").read_text().split()
    assert len(opened) == len(set(opened)) <= 2

    runs = [start(tmp_path / "parts", part=(number, 2)) for number in (0, 1)]
    assert [run.wait(60) for run in runs] == [0, 0], [run.communicate()[0] for run in runs]
    out = tmp_path / "parts" / "out"
    # Where both end at once, either may have found the other's last shard missing; one of them joins, or both.
    assert (out / "conversations.jsonl").exists()
    assert contents(out) == contents(whole)


def test_the_last_part_joins_and_no_other(tmp_path: Path):
    assert not (made(tmp_path, part=(1, 2)) / "conversations.jsonl").exists()
    with pytest.raises(VTBError, match=r"4 of 7 shards are missing in .*: run the other parts first"):
        join(tmp_path / "out")
    assert (made(tmp_path, part=(0, 2)) / "conversations.jsonl").exists()


def test_the_same_run_twice_at_a_time_makes_everything_once(whole: Path, tmp_path: Path):
    runs = [start(tmp_path, dawdle=0.02) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0], [run.communicate()[0] for run in runs]
    assert contents(tmp_path / "out") == contents(whole)


def test_processes_end_with_their_parent(tmp_path: Path):
    run = start(tmp_path, processes=2, items=2000, dawdle=0.05)
    opened = tmp_path / "opened"
    wait(lambda: opened.exists() and len(opened.read_text().split()) == 2)
    run.kill()
    run.wait(60)
    wait(lambda: not any(map(alive, opened.read_text().split())))


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(process: str) -> bool:
    stat = Path("/proc") / process / "stat"
    return stat.exists() and " Z " not in stat.read_text()


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_maker_cannot_open_is_said_once(tmp_path: Path, processes: int):
    with pytest.raises(VTBError, match=r"^llm\.model=nothing cannot be opened$"):
        made(tmp_path, broken=True, processes=processes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"style": "grand"}, "style='plain', and now it is 'grand'"),
        ({"seed": 6}, "seed=5, and now it is 6"),
        ({"items": 21}, "items=20, and now it is 21"),
        ({"bad": [4]}, "source_sha256='[0-9a-f]+', and now it is '[0-9a-f]+'"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path, change: dict[str, Any], said: str):
    out = made(tmp_path)
    before = contents(out)
    with pytest.raises(VTBError, match=rf"{re.escape(str(out))} holds data made with {said}: name another folder"):
        made(tmp_path, **change)
    assert contents(out) == before


def test_a_run_without_a_shard_binds_nobody(whole: Path, tmp_path: Path):
    with pytest.raises(VTBError, match="cannot be opened"):
        made(tmp_path, style="grand", broken=True)
    assert contents(made(tmp_path)) == contents(whole)


def test_two_runs_that_began_with_other_settings_do_not_both_end_well(tmp_path: Path):
    runs = [start(tmp_path, dawdle=0.3, style=style) for style in ("plain", "grand")]
    codes = [run.wait(60) for run in runs]
    assert any(codes), "both ended as if nothing had been"
    assert any("holds data made with style=" in run.communicate()[0] for run in runs)


def test_ids_that_stand_twice_are_refused():
    items = [Item(name, {}, f"chats.jsonl:{line}") for line, name in enumerate("abcb", start=1)]
    with pytest.raises(VTBError, match=r"id 'b' stands more than once \(chats.jsonl:2, chats.jsonl:4\)"):
        Job("qa", items, dict, {})
    with pytest.raises(VTBError, match="nothing to make data of"):
        Job("qa", [], dict, {})


def test_too_much_bad_input_stops_and_names_where_to_look(tmp_path: Path):
    with pytest.raises(
        VTBError, match=r"3 of 6 items had bad input, more than max_bad_share=0.1 of 20 allows"
    ) as caught:
        made(tmp_path, bad=[0, 2, 5])
    named = Path(str(caught.value).split()[-1])
    (last,) = read_rows(named)[-1:]
    assert last == {"id": "item-005", "reason": "no audio", "detail": "source.jsonl:6: no such file", "bad": True}
    # What was seen before counts when it goes on, and a higher limit lets it end.
    with pytest.raises(VTBError, match="3 of 6 items"):
        made(tmp_path, bad=[0, 2, 5])
    totals = json.loads((made(tmp_path, bad=[0, 2, 5], max_bad_share=0.2) / "totals.json").read_text())
    assert totals["bad"] == {"no audio": 3}


def test_conversations_close_to_held_out_ones_are_not_trained_on(tmp_path: Path):
    def maker(items: Any, shard: Shard) -> None:
        for item in items:
            shard.add({"id": item.id, "said": item.row["said"]}, item.row["stream"])

    said = [("a", "conversations"), ("a", "held_out"), ("b", "held_out"), ("c", "conversations"), ("b", "held_out")]
    items = [Item(str(number), {"said": text, "stream": stream}) for number, (text, stream) in enumerate(said)]
    run_job(Job("text", items, lambda: maker, {}, shard_size=2), tmp_path)

    def unique(rows: Any) -> Any:
        first = {row["said"]: row for row in reversed(rows)}
        kept = [row for row in rows if first[row["said"]] is row]
        return kept, [{"id": row["id"], "reason": "duplicate"} for row in rows if row not in kept]

    totals = join(tmp_path, unique)
    assert [row["id"] for row in read_rows(tmp_path / "held_out.jsonl")] == ["1", "2"]
    assert [row["id"] for row in read_rows(tmp_path / "conversations.jsonl")] == ["3"]
    assert totals["rows"] == {"conversations": 1, "held_out": 2} and totals["drops"] == {"duplicate": 2}


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_keeps_whole_shards(small_disk: Path, tmp_path: Path, whole: Path):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 2_010_000)
    job = tiny_job(tmp_path)
    with pytest.raises(VTBError, match=r"no space left for .*: what is whole is kept; free some space"):
        run_job(job, small_disk / "out")
    there = sorted(path.name for path in (small_disk / "out" / "shards").iterdir())
    assert there == [f"{number:05d}" for number in range(len(there))] and len(there) < job.shards
    filler.unlink()
    assert run_job(job, small_disk / "out")
    join(small_disk / "out")
    assert contents(small_disk / "out") == contents(whole)


def test_a_disk_that_is_full_at_the_join_leaves_the_old_files(small_disk: Path, tmp_path: Path):
    job = tiny_job(tmp_path, megabytes=0.02)
    run_job(job, small_disk)
    join(small_disk)
    before = contents(small_disk)
    fill(small_disk)
    with pytest.raises(VTBError, match=r"no space left for .*bank\.jsonl"):
        join(small_disk)
    (small_disk / "filler").unlink()
    assert contents(small_disk) == before
    assert not left_over(small_disk)


def fill(folder: Path) -> None:
    """Writes until nothing more fits."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return


def test_a_clip_is_whole_or_an_error(small_disk: Path):
    fill(small_disk)
    size = (small_disk / "filler").stat().st_size
    noise = np.random.default_rng(0).uniform(-1, 1, 160_000).astype(np.float32)
    os.truncate(small_disk / "filler", size - 65_536)
    with pytest.raises(VTBError, match="no space left"), Shard(small_disk, 0, 0) as shard:
        shard.clip("noise", noise, 16_000)
    assert list((small_disk / "shards").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(VTBError, match=f"cannot write {tmp_path / 'file'}"):
        run_job(tiny_job(tmp_path), tmp_path / "file")
