"""What people point ``vtb data lint`` at: folders, Shar, tars, odd names, no rows at all; claims and channels."""

import gzip
import io
import json
import os
import shutil
import tarfile

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.shar import SharWriter

from nemo_vtb.cli import main
from nemo_vtb.data.inspection.lint import LintResult, lint_entry
from nemo_vtb.data.sources.source import Reading, named_files, open_source
from nemo_vtb.errors import VTBError

RATE = 8000
ROW = {"id": "a", "audio_filepath": "a.wav", "text": "hello", "duration": 0.5}


def tone(seconds=1.0, hertz=440):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype("float32")


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    soundfile.write(tmp_path / "call.wav", np.stack([tone(), tone(hertz=1000)], axis=1), RATE)
    return tmp_path


def lint_paths(*paths, out, options=()):
    """Exit code and what was found."""
    code = main(["data", "lint", *map(str, paths), *options, "--processes=1", "--json", str(out)])
    return code, json.loads(out.read_text()) if out.is_file() else {}


def reasons(kind="asr", **entry):
    result = LintResult()
    lint_entry(entry, kind, Reading("<|audio|>", 0.08), result, processes=1)
    return [(finding.line, finding.severity, finding.reason) for finding in result.findings]


@pytest.mark.parametrize("name", ["lang=en", "CO_OP_shops", "set{2", "a b", "ünï", "x[0]", "%41", "-n", "p,q", "a'b"])
def test_a_file_that_exists_is_a_file(folder, name, monkeypatch):
    rows = folder / name / f"{name}.jsonl"
    rows.parent.mkdir()
    shutil.copy(folder / "a.wav", rows.parent)
    rows.write_text(json.dumps(ROW))
    assert lint_paths(rows, out=folder / "out.json")[0] == 0
    monkeypatch.chdir(folder)
    code, found = lint_paths(f"./{name}/{name}.jsonl", out=folder / "out.json")
    assert code == 0 and found["rows"] == 1
    entry = {"type": "nemo", "manifest_filepath": str(rows)}
    assert len(open_source(entry, "asr", Reading("<|audio|>", 0.08))) == 1


def test_braces_that_name_nothing_are_one_line(folder, capsys):
    with pytest.raises(VTBError, match=r"set\{9\.jsonl: no such file"):
        reasons(type="nemo", manifest_filepath=str(folder / "set{9.jsonl"))


def test_shar_is_read_by_folder_and_by_shard(folder, capsys):
    cuts = []
    for number in range(3):
        cut = Recording.from_file(folder / "a.wav", recording_id=f"r{number}").to_cut().with_id(f"c{number}")
        cut.supervisions = [SupervisionSegment("s", f"r{number}", 0, 1.0, text="hi", language="en")]
        cuts.append(cut)
    (folder / "shar").mkdir()
    with SharWriter(str(folder / "shar"), fields={"recording": "wav"}, shard_size=2) as writer:
        for cut in CutSet.from_cuts(cuts):
            writer.write(cut)
    out = folder / "out.json"
    for path, options, rows in [
        ("shar", ["--type=lhotse_shar"], 3),
        ("shar", [], 3),
        ("shar/cuts.000000.jsonl.gz", [], 2),
        ("shar/cuts.000001.jsonl.gz", ["--type=lhotse_shar"], 1),
        ("shar/recording.000000.tar", [], 2),
    ]:
        code, found = lint_paths(folder / path, out=out, options=options)
        assert code == 0 and found["rows"] == rows, (path, options)
    (folder / "shar" / "recording.000000.tar").unlink()
    code, found = lint_paths(folder / "shar" / "cuts.000000.jsonl.gz", out=out)
    assert code == 1 and "Shar folder" in found["findings"][0]["message"]


def tar_of(path, **members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("_wav", ".wav"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_a_folder_of_shards_is_paired_and_an_empty_one_passed_over(folder):
    shards = folder / "tarred"
    shards.mkdir()
    for number in range(2):
        (shards / f"manifest_{number}.json").write_text(json.dumps(ROW) + "\n" if number else "")
    tar_of(shards / "audio_1.tar", a_wav=(folder / "a.wav").read_bytes())
    (shards / "audio_0.tar").write_bytes(b"")
    entry = {
        "type": "nemo_tarred",
        "manifest_filepath": f"{shards}/manifest__OP_0..1_CL_.json",
        "tarred_audio_filepaths": f"{shards}/audio__OP_0..1_CL_.tar",
    }
    assert reasons(**entry) == []
    assert len(open_source(entry, "asr", Reading("<|audio|>", 0.08))) == 1
    assert lint_paths(shards / "audio_1.tar", out=folder / "out.json")[1]["rows"] == 1
    (shards / "manifest_0.json").write_text(json.dumps(ROW) + "\n")
    assert reasons(**entry) == [(1, "error", "missing audio")]
    with pytest.raises(VTBError, match="which is empty"):
        open_source(entry, "asr", Reading("<|audio|>", 0.08))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(ROW).encode("utf-16"), "UTF-16"),
        (json.dumps(ROW).encode("utf-16-le"), "UTF-16"),
        (gzip.compress(b"{}\n", mtime=0), "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"{'id': 'a'}\n", "Python"),
        (b"<!DOCTYPE html>\n", "HTML"),
        (b"path\ttext\na.wav\thi\n", "table"),
        (b'{\n "id": 1\n}\n', "several lines"),
        (b"", "it is empty"),
        (b"\x28\xb5\x2f\xfd\0\0", "Zstandard"),
    ],
)
def test_what_is_no_file_of_rows_is_said(tmp_path, capsys, content, message):
    (tmp_path / "m.jsonl").write_bytes(content)
    assert main(["data", "lint", str(tmp_path / "m.jsonl")]) == 2
    assert message in capsys.readouterr().err


def test_a_packed_file_cut_short_or_of_another_kind_is_one_line(folder, capsys):
    whole = gzip.compress(b"".join(json.dumps({**ROW, "id": n}).encode() + b"\n" for n in range(3000)))
    (folder / "m.jsonl.gz").write_bytes(whole[:-20])
    [(line, severity, reason)] = reasons(type="nemo", manifest_filepath=str(folder / "m.jsonl.gz"))
    assert (line, severity, reason) == (0, "error", "unreadable file")
    (folder / "n.jsonl.gz").write_bytes(b"{}\n")
    assert main(["data", "lint", str(folder / "n.jsonl.gz")]) == 2
    assert "no gzip file" in capsys.readouterr().err


def cut_row(folder, **changes):
    recording = {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "a.wav"}], "sampling_rate": RATE,
                 "num_samples": RATE, "duration": 1.0, "channel_ids": [0]}  # fmt: skip
    said = {"id": "s", "recording_id": "r", "start": 0, "duration": 0.5, "text": "hi", "language": "en"}
    row = {"id": "c", "start": 0, "duration": 0.5, "channel": 0, "type": "MonoCut", "supervisions": [said]}
    source = changes.pop("source", {})
    recording["sources"][0] |= source
    said |= changes.pop("said", {})
    return row | {"recording": recording | changes.pop("recording", {})} | changes


CLAIMS = {
    "rate": ({"sampling_rate": 16000}, "wrong claim"),
    "rate as text": ({"sampling_rate": "16000"}, "wrong claim"),
    "rate under another key": ({"sample_rate": 44100.0}, "wrong claim"),
    "the right rate": ({"sampling_rate": 8000.0}, None),
    "beyond the end": ({"duration": 9.0, "sampling_rate": 8000}, "truncated audio"),
    "after the end": ({"offset": 5.0}, "truncated audio"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_is_not_the_files_is_refused(folder, jsonl, name):
    claim, reason = CLAIMS[name]
    chat = {"id": "x", "conversations": [{"from": "User", "type": "audio", "value": "a.wav", **claim},
                                         {"from": "Assistant", "type": "text", "value": "yes"}]}  # fmt: skip
    expected = [] if reason is None else [(1, "error", reason)]
    entry = {"type": "nemo", "manifest_filepath": jsonl({**ROW, "duration": None, **claim})}
    assert reasons(**entry) == expected
    assert reasons("mixed", type="multimodal_conversation", manifest_filepath=jsonl(chat, name="c.jsonl")) == expected


CUT_CLAIMS = {
    "as it is": ({}, None),
    "rate": ({"recording": {"sampling_rate": 16000, "num_samples": 16000}}, "wrong claim"),
    "longer": ({"recording": {"num_samples": 80000, "duration": 10.0}}, "truncated audio"),
    "shorter": ({"recording": {"num_samples": 800, "duration": 0.1}, "duration": 0.1, "said": {"duration": 0.1}},
                "wrong claim"),
    "channels": ({"source": {"channels": [0, 1]}, "recording": {"channel_ids": [0, 1]}}, "wrong claim"),
    "resampled by Lhotse": (
        {"recording": {"sampling_rate": 16000, "num_samples": 16000, "transforms": [
            {"name": "Resample", "kwargs": {"source_sampling_rate": 8000, "target_sampling_rate": 16000}}]}}, None),
    "a duration of its own": ({"recording": {"duration": 2.0}}, "truncated audio"),
    "said on another channel": ({"said": {"channel": 1}}, "which channel"),
    "said for less than no time": ({"said": {"start": 0.4, "duration": -0.2}}, "wrong claim"),
    "said before it": ({"said": {"start": -0.45, "duration": 0.4}}, "outside the cut"),
    "said after it": ({"said": {"start": 0.6, "duration": 0.4}}, "outside the cut"),
    "said beyond its end": ({"said": {"start": 0.1, "duration": 0.9}}, "outside the cut"),
    "a little beyond": ({"said": {"start": 0.0, "duration": 0.6}}, None),
    "remote": ({"source": {"type": "url", "source": "https://x/a.wav"}}, "remote audio"),
    "on s3": ({"source": {"source": "s3://bucket/a.wav"}}, "remote audio"),
}  # fmt: skip


def test_supervisions_that_overlap_or_are_of_two_languages(folder, jsonl):
    row = cut_row(folder)
    said = row["supervisions"][0]
    row["supervisions"] = [said | {"id": n, "start": 0.05 * n, "text": text, "language": language}
                           for n, text, language in ((0, "", "en"), (1, " one", "en"), (2, "zwei", "de"))]  # fmt: skip
    entry = {"type": "lhotse", "cuts_path": jsonl(row)}
    assert reasons(**entry) == [(1, "warning", "overlapping speech")]
    (draw,) = [file.parse(row, "here") for file in named_files(entry, "asr", Reading("<|audio|>", 0.08))[1]]
    conversation = draw(0)
    assert conversation.turns[-1].value.lower() == "one zwei" and "lang" not in conversation.custom


def two_said(folder, first, second):
    row = cut_row(folder)
    said = row["supervisions"][0]
    row["supervisions"] = [said | {"id": n, "start": 0.25 * n, "duration": 0.25, "text": f"said {n}", "custom": own}
                           for n, own in enumerate((first, second))]  # fmt: skip
    return row


def test_translations_of_several_supervisions_follow_each_other(folder, jsonl, capsys):
    rows = [
        two_said(folder, {"translation": "eins", "target_lang": "de", "mood": 1}, {"translation": "zwei", "mood": 2}),
        two_said(folder, {"translation": "eins", "target_lang": "de"}, {"translation": "dos", "target_lang": "es"}),
    ]
    path = jsonl(*rows)
    assert main(["data", "lint", path, "--type=lhotse", "--kind=ast", "--processes=1"]) == 1
    out = capsys.readouterr().out
    assert f"{path}:2: error: several utterances: the supervisions of the cut differ in 'target_lang'" in out
    assert "cuts.trim_to_supervisions()" in out and f"{path}:1:" not in out
    entry = {"type": "lhotse", "cuts_path": path}
    (draw,) = [file.parse(rows[0], "here") for file in named_files(entry, "ast", Reading("<|audio|>", 0.08))[1]]
    assert draw(0).turns[-1].value == "eins zwei" and draw(0).custom["target_lang"] == "de"


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({"question": "a?", "answer": "b"}, {"question": "c?", "answer": "d"}, True),
        ({"question": "a?", "answer": "b"}, {"question": "a?", "answer": "d"}, True),
        ({"question": "a?", "answer": "b"}, {}, False),
        ({"question": "a?", "answer": "b", "loss": False}, {"loss": True}, True),
    ],
)
def test_a_cut_has_one_question(folder, jsonl, first, second, refused):
    found = reasons("sqa", type="lhotse", cuts_path=jsonl(two_said(folder, first, second)))
    assert found == ([(1, "error", "several utterances")] if refused else [])


@pytest.mark.parametrize("name", CUT_CLAIMS)
def test_what_a_cut_says_is_held_against_its_file(folder, jsonl, name):
    changes, reason = CUT_CLAIMS[name]
    found = reasons(type="lhotse", cuts_path=jsonl(cut_row(folder, **changes)))
    assert found == ([] if reason is None else [(1, "error", reason)])


@pytest.mark.parametrize("name", ["s3://b/a.wav", "ais://b/a.wav", "https://x/a.wav", "gs://b/a.wav"])
def test_remote_audio_and_manifests_are_refused_by_name(folder, jsonl, name):
    assert reasons(type="nemo", manifest_filepath=jsonl({**ROW, "audio_filepath": name})) == [
        (1, "error", "remote audio")
    ]
    with pytest.raises(VTBError, match="is not on this machine: copy it"):
        reasons(type="nemo", manifest_filepath=name.replace("a.wav", "m.jsonl"))


def heard(folder, entry):
    """The loudest tone of the first row."""
    from nemo_vtb.data.audio.audio_check import signal

    source = open_source(entry, "asr", Reading("<|audio|>", 0.08))
    [cut] = source.draw(0, 0).list_cuts()
    samples = signal(cut, RATE, "x").numpy()
    spectrum = np.abs(np.fft.rfft(samples))
    return {hertz for hertz in (440, 1000) if spectrum[round(hertz * len(samples) / RATE)] > spectrum.max() / 3}


def test_a_row_is_about_the_channel_it_names(folder, jsonl):
    row = {**ROW, "audio_filepath": "call.wav", "channel": 1}
    entry = {"type": "nemo", "manifest_filepath": jsonl(row)}
    assert reasons(**entry) == [(1, "error", "which channel")]
    assert heard(folder, {**entry, "channel_selector": "channel"}) == {1000}
    assert heard(folder, {**entry, "channel_selector": 0}) == {440}
    gaps = {"type": "nemo", "manifest_filepath": jsonl({**row, "channel": 1.0}, name="gaps.jsonl")}
    assert heard(folder, {**gaps, "channel_selector": "channel"}) == {1000}
    assert heard(folder, {**entry, "channel_selector": "average"}) == {440, 1000}
    for wrong in ("side", 2, -1):
        assert reasons(**entry, channel_selector=wrong) == [(1, "error", "which channel")]
    silent = {"type": "nemo", "manifest_filepath": jsonl({**ROW, "audio_filepath": "call.wav"}, name="n.jsonl")}
    assert reasons(**silent) == [(1, "warning", "channels averaged")]
    assert reasons(**silent, channel_selector="average") == []


def test_two_channels_of_one_file_are_two_clips(folder, jsonl):
    from nemo_vtb.data.dataset import clip_name

    rows = [{**ROW, "audio_filepath": "call.wav", "channel": number} for number in (0, 1)]
    entry = {"type": "nemo", "manifest_filepath": jsonl(*rows), "channel_selector": "channel"}
    source = open_source(entry, "asr", Reading("<|audio|>", 0.08))
    assert len({clip_name(source.draw(number, 0).list_cuts()[0]) for number in (0, 1)}) == 2


def test_silence_is_worth_a_word(folder, jsonl):
    soundfile.write(folder / "off.wav", np.zeros(RATE), RATE)
    assert reasons(type="nemo", manifest_filepath=jsonl({**ROW, "audio_filepath": "off.wav"})) == [
        (1, "warning", "silent clip")
    ]


def test_align_has_nothing_to_supervise_and_is_no_error(folder, jsonl, tokenizer):
    from nemo_vtb.data.dataset import VTBDataset

    reading = Reading("<|audio|>", 0.08, encoder=VTBDataset(tokenizer, "chatml", "<|audio|>"))
    result = LintResult()
    lint_entry({"type": "nemo", "manifest_filepath": jsonl(ROW)}, "align", reading, result, processes=1)
    assert not result.findings and result.rows == 1


def test_recordings_that_change_are_measured_again_or_left_out(folder, jsonl, tokenizer):
    """The index knows what it measured: all replaced, it is made anew; one replaced in training is a changed file."""
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.files.rows import BadRow

    rows = []
    for number in range(200):
        soundfile.write(folder / f"c{number}.wav", tone(1.0), RATE)
        rows.append({"id": f"c{number}", "audio_filepath": f"c{number}.wav", "text": "hello"})
    entry = {"type": "nemo", "manifest_filepath": jsonl(*rows)}
    reading = Reading("<|audio|>", 0.08, encoder=VTBDataset(tokenizer, "chatml", "<|audio|>"))
    source = open_source(entry, "asr", reading)
    short = source.size(1).total
    soundfile.write(folder / "c1.wav", tone(5.0), RATE)
    os.utime(folder / "c0.wav", (1, 1))
    assert source.draw(0, 0).list_cuts()[0].duration == 1.0  # only touched
    with pytest.raises(BadRow, match=r"c1\.wav has 5\.00 s .* it had 1\.00 s") as error:
        source.draw(1, 0)
    assert error.value.reason == "changed file"
    for number in range(200):
        soundfile.write(folder / f"c{number}.wav", tone(5.0), RATE)
    assert open_source(entry, "asr", reading).size(1).total > short + 40
