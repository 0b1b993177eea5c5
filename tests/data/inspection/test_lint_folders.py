"""``vtb data lint FOLDER``: every file of rows is checked, and what is not is named."""

import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from web_datasets import web_dataset

from nemo_vtb.cli import main

RATE = 8000
ROW = {"id": "a", "audio_filepath": "a.wav", "text": "hello"}
CHAT = {"conversations": [{"from": "human", "value": "<sound>\nWhat?"}, {"from": "gpt", "value": "A tone."}]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "data" / "a.wav", 0.3 * np.sin(np.arange(RATE) / 3), RATE)
    return tmp_path / "data"


def lint(*paths, options=()):
    """Exit code and what was found."""
    out = paths[0].parent / "out.json"
    code = main(["data", "lint", *map(str, paths), *options, "--processes=1", "--json", str(out)])
    return code, json.loads(out.read_text())


def reasons(found):
    return [(finding["severity"], finding["reason"], finding["line"]) for finding in found["findings"]]


def test_what_prepare_writes_is_linted_as_a_folder(tmp_path, capsys):
    (tmp_path / "tulu").mkdir()
    messages = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    (tmp_path / "tulu" / "train.jsonl").write_text(json.dumps({"id": "a", "messages": messages}) + "\n")
    assert main(["data", "prepare", "tulu", "--from", str(tmp_path / "tulu"), "--out", str(tmp_path / "prep")]) == 0
    code, found = lint(tmp_path / "prep")
    assert code == 0 and found["rows"] == 1 and found["read_as"] == {"multimodal_conversation, kind mixed": 1}
    [note] = found["findings"]
    assert (note["severity"], note["reason"]) == ("note", "file left out")
    assert "tulu.yaml" in note["message"] and "corpus.json" not in note["message"]


def test_rows_of_every_suffix_are_checked_and_the_rest_is_named(folder):
    for name in ("a.jsonl", "b.ndjson", "c.JSONL", "d.manifest"):
        (folder / name).write_text(json.dumps({**ROW, "id": name, "duration": 1.0 if name == "a.jsonl" else 99}) + "\n")
    (folder / "e.tsv").write_text("a\tb\n")
    (folder / "f.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfdabc")
    (folder / "words.txt").write_text("hello\n")
    (folder / "more.txt").write_text("hello\n")
    code, found = lint(folder)
    assert code == 1 and found["rows"] == 3
    assert reasons(found) == [("error", "truncated audio", 1)] * 2 + [("note", "file left out", 0)]
    message = found["findings"][-1]["message"]
    assert all(name in message for name in ("d.manifest", "e.tsv", "f.jsonl.zst", "more.txt and 1 more *.txt"))
    assert "a.wav" not in message


def test_one_file_that_is_no_rows_does_not_hide_the_others(folder):
    (folder / "z.jsonl").write_text(json.dumps({**ROW, "audio_filepath": "gone.wav"}) + "\n")
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}, indent=1))
    (folder / "stats.json").write_text(json.dumps({"hours": 3}, indent=1))
    code, found = lint(folder)
    assert code == 1
    assert [one[:2] for one in reasons(found)] == [
        ("warning", "not rows"), ("error", "missing audio"),
    ]  # fmt: skip
    assert found["findings"][0]["file"].endswith("stats.json")
    (folder / "latin.jsonl").write_bytes(json.dumps({**ROW, "text": "é"}, ensure_ascii=False).encode("latin-1"))
    code, found = lint(folder)
    assert code == 1 and reasons(found)[0] == ("error", "unreadable file", 0)
    assert found["findings"][0]["message"].startswith(f"{folder}/latin.jsonl:1: broken JSON: the line is not")


def test_lhotse_s_other_manifests_stand_beside_its_cuts(folder):
    recording = Recording.from_file(folder / "a.wav")
    supervision = SupervisionSegment("s", recording.id, 0, 1.0, text="hi", language="en")
    cut = recording.to_cut()
    cut.supervisions = [supervision]
    cuts = CutSet.from_cuts([cut])
    cuts.to_file(folder / "cuts.jsonl.gz")
    recordings, supervisions, _ = cuts.decompose(folder)
    assert recordings and supervisions  # and features, of which there are none
    assert (folder / "recordings.jsonl.gz").is_file()
    code, found = lint(folder)
    assert code == 0 and found["rows"] == 1 and reasons(found) == [("warning", "not rows", 0)] * 3


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("options", [[], ["--type=share_gpt_webdataset"]])
def test_tars_that_no_rows_claim_are_web_datasets(folder, listed, options):
    wav = (folder / "a.wav").read_bytes()
    web = folder / "web"
    web.mkdir()
    for number in range(2):
        web_dataset(web / f"s-{number:03}.tar", {"a.json": json.dumps(CHAT).encode(), "a.wav": wav})
    if listed:
        (web / "wids-meta.json").write_text(json.dumps({"shardlist": [{"url": "s-000.tar"}, {"url": "s-001.tar"}]}))
    code, found = lint(web, options=options)
    assert found["rows"] == 2 and [*found["read_as"]] == ["share_gpt_webdataset, kind mixed"]
    assert code == 0 and len(found["files"]) == 2


def test_tars_of_a_manifest_are_its_own(folder):
    (folder / "tarred").mkdir()
    (folder / "tarred" / "manifest_0.json").write_text(json.dumps(ROW) + "\n")
    web_dataset(folder / "tarred" / "audio_0.tar", {"a.wav": (folder / "a.wav").read_bytes()})
    code, found = lint(folder / "tarred")
    assert code == 0 and found["rows"] == 1 and not found["findings"]
    (folder / "tarred" / "manifest_0.json").unlink()
    assert main(["data", "lint", str(folder / "tarred")]) == 2


@pytest.mark.parametrize(
    "meta", ["{bad", "{}", '{"shardlist": 3}', '{"shardlist": []}', '{"shardlist": [{"url": "x"}]}']
)
def test_a_list_of_tars_that_is_broken_is_one_line(folder, capsys, meta):
    web_dataset(folder / "s-000.tar", {"a.json": json.dumps(CHAT).encode(), "a.wav": b""})
    (folder / "wids-meta.json").write_text(meta)
    assert main(["data", "lint", str(folder), "--type=share_gpt_webdataset"]) == 2
    err = capsys.readouterr().err
    assert "wids-meta.json" in err and "internal error" not in err and err.count("\n") == 1
    assert main(["data", "lint", str(folder)]) == 1


@pytest.mark.parametrize("held", ["{bad", "{}", '{"_data_files": []}'])
def test_a_saved_data_set_that_is_broken_is_one_line(folder, capsys, held):
    (folder / "state.json").write_text(held)
    entry = ["--type=share_gpt", "--kind=text", f"manifest_filepath={folder}"]
    (folder / "b.jsonl").write_text("{}\n")
    assert main(["data", "lint", str(folder / "b.jsonl"), *entry]) == 2
    assert "state.json" in capsys.readouterr().err
    (folder / "dataset_dict.json").write_text("{}")
    assert main(["data", "lint", str(folder / "b.jsonl"), *entry]) == 2
    assert "no split beside it" in capsys.readouterr().err


def test_a_file_behind_an_option_is_a_file(folder):
    for name in "bc":
        (folder / f"{name}.jsonl").write_text(json.dumps({**ROW, "id": name}) + "\n")
    code, found = lint(folder / "b.jsonl", options=["--kind", "asr", str(folder / "c.jsonl"), "max_duration=3"])
    assert code == 0 and found["rows"] == 2


@pytest.mark.parametrize("option", ["max_duration=abc", "min_duration=-1", "token_equivalent_duration=0"])
def test_an_option_that_cannot_be_is_named(folder, capsys, option):
    (folder / "b.jsonl").write_text(json.dumps(ROW) + "\n")
    assert main(["data", "lint", str(folder / "b.jsonl"), option]) == 2
    assert option.partition("=")[0] in capsys.readouterr().err
