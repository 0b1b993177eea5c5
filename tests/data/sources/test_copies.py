"""Rows that have no lines of their own: arrays of JSON, tables, samples of a WebDataset; nothing of them is lost."""

import gzip
import io
import json

import numpy as np
import pytest
import soundfile
from web_datasets import web_dataset

from nemo_vtb.cli import main
from nemo_vtb.data.inspection.findings import LintResult
from nemo_vtb.data.inspection.lint import lint_entry
from nemo_vtb.data.sources.source import Reading, open_source
from nemo_vtb.errors import VTBError

READING = Reading("<|audio|>", 0.08)
GOOD = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
CHAT = {"conversations": [{"from": "human", "value": "<sound>\nWhat?"}, {"from": "gpt", "value": "A tone."}]}


def findings(kind="mixed", **entry):
    result = LintResult()
    lint_entry(entry, kind, READING, result, processes=1)
    return result.findings


@pytest.fixture
def wav():
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(8000) / 3), 8000, format="WAV")
    return file.getvalue()


def test_a_row_of_an_array_is_named_by_its_number(tmp_path, capsys):
    rows = [GOOD, GOOD, {"messages": [{"role": "user", "content": "a"}]}]
    (tmp_path / "indent.json").write_text(json.dumps(rows, indent=2))
    assert main(["data", "lint", str(tmp_path / "indent.json"), "--processes=1"]) == 1
    assert f"{tmp_path}/indent.json, row 3: error: no assistant turn" in capsys.readouterr().out
    with pytest.raises(VTBError, match=r"indent\.json, row 3: "):
        open_source({"type": "share_gpt", "manifest_filepath": str(tmp_path / "indent.json")}, "text", READING)


def test_a_key_that_stands_twice_is_refused_wherever_it_stands(tmp_path, wav):
    first = json.dumps(GOOD)
    twice = first[:-1] + ', "messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}'
    inside = first.replace('"content": "a"', '"content": "a", "content": "zzz"')
    (tmp_path / "a.json").write_text(f"[{first},\n{twice}, {inside}]")
    found = findings(type="share_gpt", manifest_filepath=str(tmp_path / "a.json"))
    assert [(one.line, one.reason) for one in found] == [(2, "broken JSON"), (3, "broken JSON")]
    assert "'messages' stands twice" in found[0].message and "'content' stands twice" in found[1].message
    chat = json.dumps(CHAT)
    members = {"a.json": ('{"id": 1, "id": 2, ' + chat[1:]).encode(), "a.wav": wav}
    members |= {"b.json": chat.replace('"from": "gpt"', '"from": "gpt", "from": "human"').encode(), "b.wav": wav}
    found = findings(type="share_gpt_webdataset", data_dir=web_dataset(tmp_path / "s.tar", members))
    assert [(one.line, one.reason) for one in found] == [(1, "broken JSON"), (2, "broken JSON")]


def test_every_member_of_a_web_dataset_is_read_or_said_not_to_be(tmp_path, wav):
    chat = json.dumps(CHAT).encode()
    members = {"a.json": chat, "a.wav": wav, "a.txt": b"hello", "a.meta.json": b"{}"}
    members |= {"b.wav": wav, "c.wav.json": chat, "c.wav": wav, "d.json": chat}
    entry = {"type": "share_gpt_webdataset", "data_dir": web_dataset(tmp_path / "s.tar", members)}
    found = findings(**entry)
    assert [(one.line, one.reason) for one in found if one.severity == "error"] == [
        (2, "missing field"), (4, "wrong placeholder count"),
    ]  # fmt: skip
    assert "no b.json stands next to b.wav" in found[0].message
    unread = " ".join(one.message for one in found if one.reason == "unread field")
    assert "'.txt'" in unread and "'.meta.json'" in unread
    assert len(open_source(entry, "mixed", Reading("<|audio|>", 0.08, max_bad_share=0.9))) == 2


def test_a_tar_without_any_row_is_an_error(tmp_path, wav, capsys):
    path = web_dataset(tmp_path / "s-000.tar", {"a.wav": wav, "a.txt": b"hello"})
    assert main(["data", "lint", path]) == 2
    assert "holds no .json" in capsys.readouterr().err
    assert main(["data", "lint", path, "--type=share_gpt_webdataset"]) == 1
    assert "no a.json stands next to a.wav" in capsys.readouterr().out


def test_columns_of_one_name_are_refused(tmp_path, capsys):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.Table.from_arrays([arrow.array(["a"]), arrow.array(["b"])], names=["text", "text"])
    parquet.write_table(table, tmp_path / "t.parquet")
    assert main(["data", "lint", str(tmp_path / "t.parquet"), "--type=share_gpt", "--kind=text"]) == 1
    assert "has 2 columns named 'text'" in capsys.readouterr().out


def test_a_table_of_recordings_is_guessed_and_its_rows_are_named(tmp_path, wav, capsys):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    clips = [{"bytes": wav, "path": "a.wav"}, {"bytes": None, "path": "gone.wav"}]
    parquet.write_table(arrow.table({"clip": clips, "sentence": ["hi", "x"]}), tmp_path / "cv.parquet")
    assert main(["data", "lint", str(tmp_path / "cv.parquet"), "text_field=sentence", "--processes=1"]) == 1
    out = capsys.readouterr().out
    assert "cv.parquet, row 2: error: missing audio" in out and "read as parquet, kind asr" in out
    assert "2 rows in 1 files: 1 errors" in out


@pytest.mark.parametrize("kind", ["mixed", "text"])
def test_a_source_that_gives_nothing_is_an_error(tmp_path, kind):
    (tmp_path / "a.json").write_text("[]")
    [found] = findings(kind, type="share_gpt", manifest_filepath=str(tmp_path / "a.json"))
    assert (found.severity, found.reason) == ("error", "nothing left") and "there is no row" in found.message


def test_rows_that_are_left_out_are_counted(tmp_path):
    rows = [{**GOOD, "id": n, "split": "train" if n else "test"} for n in range(4)]
    rows[2]["_skipme"], rows[3]["_skipme"] = True, "false"
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = {"type": "share_gpt", "manifest_filepath": str(tmp_path / "a.jsonl")}
    found = [(one.line, one.severity, one.reason) for one in findings(**entry, only={"split": "train"})]
    assert found == [(4, "error", "loss switch"), (1, "note", "row left out")]
    left_out, nothing = findings(**entry, only={"split": "trian"})
    assert "(4 rows, this one first)" in left_out.message and (nothing.line, nothing.severity) == (0, "error")
    assert nothing.reason == "nothing left" and "only={'split': 'trian'}" in nothing.message


def test_a_broken_sample_is_one_row_of_its_tar(tmp_path, wav):
    chat = json.dumps(CHAT).encode()
    members = {"a.JSON": chat, "a.wav": wav, "b.json": b"{broken", "b.wav": wav, "c.json": b"[1]"}
    members |= {"d.json": '{"id": "é"}'.encode("latin-1"), "e.json": chat, "e.wav": wav}
    entry = {"type": "share_gpt_webdataset", "data_dir": web_dataset(tmp_path / "s.tar", members)}
    found = findings(**entry)
    assert [(one.line, one.reason) for one in found] == [(line, "broken JSON") for line in (2, 3, 4)]
    assert all(name in one.message for name, one in zip(("b.json", "c.json", "d.json"), found, strict=True))
    assert len(open_source(entry, "mixed", Reading("<|audio|>", 0.08, max_bad_share=0.7))) == 2


def test_a_packed_array_is_read_as_an_array(tmp_path, capsys):
    text = json.dumps([GOOD, GOOD, {"messages": [{"role": "user", "content": "a"}]}], indent=2)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.encode()))
    found = findings(type="share_gpt", manifest_filepath=str(tmp_path / "a.json.gz"))
    assert [(one.line, one.reason) for one in found if one.severity == "error"] == [(3, "no assistant turn")]
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(f"{json.dumps(GOOD)}\n".encode() * 2))
    assert (
        len(open_source({"type": "share_gpt", "manifest_filepath": str(tmp_path / "b.json.gz")}, "text", READING)) == 2
    )
    for name, data in {"cut": gzip.compress(text.encode())[:-20], "none": text.encode()}.items():
        (tmp_path / f"{name}.json.gz").write_bytes(data)
        assert main(["data", "lint", str(tmp_path / f"{name}.json.gz"), "--processes=1"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
