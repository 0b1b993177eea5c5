"""Clips and pictures in a user's words, where nobody would hear or see them: refused, never learnt as words."""

import pytest

from nemo_vtb.cli import main
from nemo_vtb.data.files.rows import REMEDIES, BadRows

YES = {"from": "assistant", "value": "yes"}


def reasons(read, kind, **entry):
    bad = BadRows(1.0)
    read(kind, bad, **entry)
    assert set(bad.reasons) <= set(REMEDIES)
    return dict(bad.reasons)


def asked(*said):
    return {"conversations": [*({"from": "user", "value": text} for text in said), YES]}


def test_the_layout_of_qwen_audio_is_no_text(jsonl, clip, capsys):
    path = jsonl(asked(f"Audio 1: <audio>{clip.path}</audio>\nwhat does the person say?"))
    assert main(["data", "lint", path, "--type=nemo_sft_jsonl", "--kind=text", "--processes=1"]) == 1
    out = capsys.readouterr().out
    assert f"{path}:1: error: clip in text: " in out and "rows of type share_gpt" in out


@pytest.mark.parametrize("words", ["<sound>\nwhat?", "what?\n<sound>", " <audio> ", "a.wav", "<image>\nDescribe it.",
                                   "<audio>a.wav</audio>", "<|audio_1|>\nwhat?"])  # fmt: skip
@pytest.mark.parametrize("data_type", ["nemo_sft_jsonl", "multimodal_conversation", "share_gpt"])
def test_text_that_waits_for_a_clip_or_a_picture_is_refused(jsonl, read, words, data_type):
    key = "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath"
    bad = reasons(read, "text", type=data_type, **{key: jsonl(asked(words))})
    # share_gpt hears the clip that a placeholder names, and would hear this one if it were there.
    named = data_type == "share_gpt" and words == "<audio>a.wav</audio>"
    seen = "image" in words
    assert bad == {"missing audio" if named else "other media" if seen else "clip in text": 1}


@pytest.mark.parametrize(
    "words",
    [
        "What does <audio> do in HTML?",
        "<audio>\n  <source src='a.mp3'>\n</audio>\nWhy is it silent?",
        "See [1] and ![a](b.png), or <image>.",
        "<speech>Friends, Romans</speech>\nSummarise it.",
        "Play song.mp3",
    ],
)
@pytest.mark.parametrize("data_type", ["nemo_sft_jsonl", "multimodal_conversation", "share_gpt"])
def test_text_may_talk_of_tags(jsonl, read, said, words, data_type):
    key = "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath"
    (draw,) = read("text", type=data_type, **{key: jsonl(asked(words))})
    assert said(draw(0)) == [("user", words), ("assistant", "yes")]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("<audio>What?", "clip in text"),
        ("What <|audio|> is", "clip in text"),
        ("Listen to <audio>CLIP</audio> what?", "clip in text"),
        ("![s](CLIP) what", "clip in text"),
        ("<image> What?", "other media"),
    ],
)
@pytest.mark.parametrize("beside", [True, False])
def test_tags_beside_turns_of_type_audio_are_refused(jsonl, read, clip, words, reason, beside):
    row = asked(words.replace("CLIP", str(clip.path.with_suffix(".ogg"))))
    if beside:
        row["conversations"].insert(1, {"from": "User", "type": "audio", "value": str(clip.path)})
    assert reasons(read, "mixed", manifest_filepath=jsonl(row)) == {reason: 1}
    row["conversations"] = [{"from": "user", "value": "What?"}, {"from": "assistant", "value": words}]
    assert not reasons(read, "mixed", manifest_filepath=jsonl(row))


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("sqa", {"question": "<audio>\nWhat is said?", "answer": "hi"}, "clip in text"),
        ("sqa", {"question": "a.wav", "answer": "hi"}, "clip in text"),
        ("asr", {"context": "Write what you see: <image>"}, "other media"),
        ("asr", {"context": "Write <tags> [so]:"}, None),
    ],
)
def test_questions_and_contexts_of_manifests(jsonl, read, clip, kind, fields, reason):
    row = {"audio_filepath": str(clip.path), "text": "hi", **fields}
    found = reasons(read, kind, type="nemo", manifest_filepath=jsonl(row))
    assert found == ({} if reason is None else {reason: 1})
