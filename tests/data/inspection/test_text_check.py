"""Cuts that Lhotse has put together are linted and named as any other: padded, appended, mixed."""

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from nemo_vtb.cli import main
from nemo_vtb.data.dataset import clip_name
from nemo_vtb.data.sources.source import Reading, open_source


@pytest.fixture
def cut(tmp_path):
    soundfile.write(tmp_path / "größe.wav", 0.3 * np.sin(np.arange(16_000) / 3), 8000)
    recording = Recording.from_file(tmp_path / "größe.wav")
    cut = recording.to_cut()
    cut.supervisions = [SupervisionSegment("s", recording.id, 0, 1.0, text="hi", language="en")]
    return cut


@pytest.mark.parametrize(
    "made", [lambda cut: cut.pad(duration=4), lambda cut: cut.append(cut), lambda cut: cut.mix(cut, snr=10)]
)
def test_a_mix_is_linted(tmp_path, cut, made, capsys):
    CutSet.from_cuts([made(cut).with_id("a")]).to_file(tmp_path / "cuts.jsonl")
    code = main(["data", "lint", str(tmp_path / "cuts.jsonl"), "--kind=asr", "--processes=1"])
    out = capsys.readouterr().out
    assert code == 0 and "1 rows in 1 files: 0 errors" in out, out
    entry = {"type": "lhotse", "cuts_path": str(tmp_path / "cuts.jsonl")}
    [heard] = open_source(entry, "asr", Reading("<|audio|>", 0.08)).draw(0, 0).list_cuts()
    assert {name.partition("@")[0] for name in clip_name(heard).split("|")} == {str(tmp_path / "größe.wav")}


def test_an_answer_to_nothing_is_named(tmp_path, jsonl, capsys):
    asked = [["", "yes"], ["  \n", "yes"], ["What?", "yes"]]
    chats = [{"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
             for question, answer in asked]  # fmt: skip
    chats.append({"messages": [{"role": "user", "content": ""}, *chats[2]["messages"]]})
    path = jsonl(*chats)
    assert main(["data", "lint", path, "--kind=text", "--processes=1"]) == 0
    out = capsys.readouterr().out
    assert [f"{path}:{line}: warning: empty question" in out for line in (1, 2, 3, 4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cafÃ©", "garbled text"),
        ("itâ€™s", "garbled text"),
        ("a caf\ufffd", "garbled text"),
        ("cafe\u0301", "decomposed text"),
        ("\u1100\u1161", "decomposed text"),
        ("café, Ângelo, Ã, Ñandú, “so” â – ™", None),
        ("क़ שּׁ 가 パ", None),
    ],
)
def test_texts_that_were_read_as_something_else(jsonl, capsys, text, reason):
    path = jsonl({"messages": [{"role": "user", "content": "Repeat."}, {"role": "assistant", "content": text}]})
    assert main(["data", "lint", path, "--kind=text", "--processes=1"]) == 0
    out = capsys.readouterr().out
    assert [name for name in ("garbled text", "decomposed text") if f"warning: {name}" in out] == [reason] * bool(
        reason
    )
