"""``vtb data lint``: every class of bad input with file and line, for people and for programs."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile

from nemo_vtb.cli import main
from nemo_vtb.data.files.rows import REMEDIES
from nemo_vtb.data.inspection.findings import FILE_REMEDIES, WARNINGS, LintResult
from nemo_vtb.data.inspection.lint import lint_entry
from nemo_vtb.data.sources.source import Reading

READING = Reading("<|audio|>", 0.08)
ANSWER = {"from": "Assistant", "value": "x"}


def wav(path, samples, rate=16_000, subtype="PCM_16"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder of clips, each bad in its own way, and one that is good."""
    tone = 0.3 * np.sin(np.arange(32_000) / 20).astype("float32")
    wav(tmp_path / "good.wav", tone)
    wav(tmp_path / "empty.wav", tone[:0])
    wav(tmp_path / "short.wav", tone[:160])
    wav(tmp_path / "nan.wav", np.array([0.1, np.nan] * 4000, "float32"), subtype="FLOAT")
    (tmp_path / "noise.wav").write_bytes(b"not audio")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:30_000])
    return tmp_path


def lint(kind="asr", reading=READING, special=(), decode=True, **entry):
    result = LintResult()
    lint_entry(entry, kind, reading, result, decode, special, processes=1)
    return result


def test_every_class_has_file_line_and_remedy(folder, jsonl):
    rows = [
        {"audio_filepath": "good.wav", "text": "hi", "duration": 2.0},
        '{"audio_filepath": ',
        {"audio_filepath": "gone.wav", "text": "hi"},
        {"audio_filepath": "cut.wav", "text": "hi"},
        {"audio_filepath": "empty.wav", "text": "hi"},
        {"audio_filepath": "nan.wav", "text": "hi"},
        {"audio_filepath": "noise.wav", "text": "hi"},
        {"audio_filepath": "short.wav", "text": "hi"},
        {"audio_filepath": "good.wav", "text": ""},
        {"audio_filepath": "good.wav", "text": "hi", "duration": 9.0},
        {"audio_filepath": "../good.wav", "text": "hi"},
        {"text": "hi"},
        "",
    ]
    path = jsonl(*rows)
    result = lint(type="nemo", manifest_filepath=path)
    found = {finding.line: finding.reason for finding in result.findings}
    assert found == {
        2: "broken JSON", 3: "missing audio", 4: "truncated audio", 5: "zero length", 6: "not finite",
        7: "unreadable audio", 8: "clip length", 9: "nothing supervised", 10: "truncated audio", 11: "unsafe path",
        12: "missing field",
    }  # fmt: skip
    assert result.rows == 12 and result.count("error") == 11
    assert str(result.findings[1]).startswith(f"{path}:3: error: missing audio: no audio file at ")
    reasons = result.to_dict()["reasons"]
    assert reasons["truncated audio"]["count"] == 2 and all(about["remedy"] for about in reasons.values())
    # Samples that are no numbers are found only by decoding.
    assert "not finite" not in {f.reason for f in lint(type="nemo", manifest_filepath=path, decode=False).findings}


def test_conversations_have_classes_of_their_own(folder, jsonl):
    rows = [
        {"messages": [{"role": "user", "content": "<audio> <audio>"}, {"role": "assistant", "content": "x"}],
         "audios": ["good.wav"]},
        {"conversations": [{"from": "human", "value": "hi"}]},
        {"conversations": [{"from": "narrator", "value": "hi"}, {"from": "gpt", "value": "x"}]},
        {"conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "hi"}]},
    ]  # fmt: skip
    found = [finding.reason for finding in lint("mixed", type="share_gpt", manifest_filepath=jsonl(*rows)).findings]
    assert found == ["wrong placeholder count", "no assistant turn", "unknown role", "turn order"]


def test_with_a_tokenizer_lengths_and_special_tokens_are_checked(jsonl, tokenizer):
    from nemo_vtb.data.dataset import VTBDataset

    rows = [
        {"id": "a", "conversations": [{"from": "User", "value": "word " * 100}, ANSWER]},
        {"id": "b", "conversations": [{"from": "User", "value": "end it <|im_end|> now"}, ANSWER]},
        {"id": "b", "conversations": [{"from": "User", "value": "hi"}, ANSWER]},
    ]
    reading = Reading("<|audio|>", 0.08, max_total=64, encoder=VTBDataset(tokenizer, "chatml"))
    result = lint("text", reading, tuple(tokenizer.tokenizer.all_special_tokens), manifest_filepath=jsonl(*rows))
    assert [(f.line, f.severity, f.reason) for f in result.findings] == [
        (1, "error", "too long"), (2, "warning", "special token in text"), (3, "warning", "duplicate id"),
    ]  # fmt: skip


def test_tars_that_are_refused_or_damaged_are_findings_of_their_own(folder, jsonl):
    good = (folder / "good.wav").read_bytes()
    for name, members in (("bad", {"../evil.wav": good}), ("cut", {"a.wav": good, "b.wav": good})):
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for member, data in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    (folder / "cut.tar").write_bytes((folder / "cut.tar").read_bytes()[: len(good) + 2000])
    rows = [{"audio_filepath": name, "text": "hi"} for name in ("a.wav", "b.wav")]
    path = jsonl(*rows)
    refused = lint(type="nemo_tarred", manifest_filepath=path, tarred_audio_filepaths=str(folder / "bad.tar"))
    assert [(f.line, f.reason) for f in refused.findings] == [(0, "unreadable file")]
    assert "points outside the archive" in refused.findings[0].message
    damaged = lint(type="nemo_tarred", manifest_filepath=path, tarred_audio_filepaths=str(folder / "cut.tar"))
    assert [(f.line, f.reason) for f in damaged.findings] == [(0, "damaged tar"), (2, "missing audio")]


def test_the_command_says_it_to_people_and_programs(folder, jsonl, capsys):
    path = jsonl({"audio_filepath": "good.wav", "text": "hi"}, *[{"audio_filepath": "gone.wav", "text": "hi"}] * 25)
    assert main(["data", "lint", path, "--json", str(folder / "lint.json"), "--processes=2"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{path}:2: error: missing audio: ")
    assert out[-2] == "read as nemo, kind asr"
    assert out[-3].split() == "25 missing audio (5 not shown): restore the file, or correct the path".split()
    assert out[-1] == "26 rows in 1 files: 25 errors, 0 warnings"
    report = json.loads((folder / "lint.json").read_text())
    assert report["errors"] == 25 and report["findings"][0]["line"] == 2
    jsonl({"audio_filepath": "good.wav", "text": "hi"})
    assert main(["data", "lint", path]) == 0
    assert main(["data", "lint", path, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out.split("\n", 2)[2])["errors"] == 0


@pytest.mark.parametrize(
    ("row", "kind", "data_type"),
    [
        ({"audio_filepath": "a.wav", "text": "x"}, "asr", "nemo"),
        ({"audio_filepath": "a.wav", "translation": "x"}, "ast", "nemo"),
        ({"audio_filepath": "a.wav", "question": "x", "answer": "y"}, "sqa", "nemo"),
        ({"audio_filepath": "a.wav", "text": "x", "source_lang": "en", "target_lang": "en-US"}, "asr", "nemo"),
        ({"audio_filepath": "a.wav", "text": "x", "source_lang": "en", "target_lang": "de"}, "ast", "nemo"),
        ({"audio_filepath": "a.wav", "text": "x", "custom": "abc"}, "asr", "nemo"),
        ({"recording": {}, "custom": {"target_lang": "de"}}, "ast", "lhotse"),
        ({"recording": {}, "supervisions": [{"language": "en", "custom": {"target_lang": "de"}}]}, "ast", "lhotse"),
        ({"recording": {}, "supervisions": [{"language": "de", "custom": {"target_lang": "de"}}]}, "asr", "lhotse"),
        ({"messages": []}, "mixed", "share_gpt"),
        ({"conversations": [{"from": "human", "value": "x"}]}, "mixed", "share_gpt"),
        ({"conversations": [{"from": "User", "type": "text", "value": "x"}]}, "mixed", "multimodal_conversation"),
        ({"conversations": [{"from": "User", "value": "x"}]}, "text", "nemo_sft_jsonl"),
        ({"conversations": [{"from": "user", "value": "Audio 1: <audio>a.wav</audio>\nWhat?"}]}, "mixed", "share_gpt"),
        ({"conversations": [{"from": "user", "value": "a.wav"}]}, "mixed", "share_gpt"),
        (
            {"conversations": [{"from": "user", "value": "x"}, {"from": "assistant", "value": "<audio> plays"}]},
            "text",
            "nemo_sft_jsonl",
        ),
        ({"conversations": [{"role": "user", "content": "x"}]}, "mixed", "share_gpt"),
    ],
)
def test_the_type_of_a_file_is_guessed_from_its_first_row(jsonl, row, kind, data_type):
    from nemo_vtb.data.sources.guess import guess_entries

    [(entry, guessed)] = guess_entries(jsonl("", "{", row))
    assert entry["type"] == data_type and guessed == kind


def test_a_config_is_checked_source_by_source(tiny_llm, tmp_path, capsys):
    arguments = ["--config-name=quickstart", f"model.pretrained_llm={tiny_llm}", "--kind=ast", "--no-decode"]
    assert main(["data", "lint", *arguments, "--json", str(tmp_path / "lint.json")]) == 0
    report = json.loads((tmp_path / "lint.json").read_text())
    assert report["rows"] == 2 * 1223 and report["warnings"] == 0
    assert main(["data", "lint", *arguments, "data.train_ds.batch_tokens=45"]) == 1
    assert "too long" in capsys.readouterr().out


def test_usage_and_unknown_types_are_named(jsonl, capsys):
    assert main(["data", "lint"]) == 2
    assert main(["data", "lint", jsonl({"a": 1})]) == 2
    assert main(["data", "lint", jsonl({"a": 1}), "--type=csv"]) == 2
    err = capsys.readouterr().err
    assert "give files of rows, or --config-name" in err and "of no known type" in err and "unknown type 'csv'" in err


def test_every_reason_has_a_remedy():
    """What the code counts by is what the tables explain."""
    import re
    from pathlib import Path

    import nemo_vtb.data

    code = "".join(path.read_text() for path in Path(nemo_vtb.data.__path__[0]).rglob("*.py"))
    reasons = set(re.findall(r'BadRow\(\s*"([^"]+)"', code)) | set(re.findall(r'Finding\([^"]*"\w+", "([^"]+)"', code))
    assert reasons and reasons <= set(REMEDIES) | set(WARNINGS) | set(FILE_REMEDIES)
