"""Nothing unread in silence: every field is read, harmless, refused by its name, or reported with a count."""

import json

import pytest

from nemo_vtb.data.files.rows import REMEDIES, BadRows, parse_line
from nemo_vtb.data.inspection.lint import LintResult, lint_entry
from nemo_vtb.data.row_forms.fields import Tracked, clip_fields, unread
from nemo_vtb.data.sources.source import Reading, open_source
from nemo_vtb.errors import VTBError

READING = Reading("<|audio|>", 0.08)


def chat(user=(), answer=(), text="hi", **row):
    asked = {"role": "user", "content": text, **dict(user)}
    return {"messages": [asked, {"role": "assistant", "content": "yes", **dict(answer)}], **row}


def reasons(read, path, kind="mixed", data_type="share_gpt"):
    bad = BadRows(1.0)
    read(kind, bad, type=data_type, manifest_filepath=path)
    assert set(bad.reasons) <= set(REMEDIES)
    return bad


@pytest.mark.parametrize(
    ("row", "reason", "named"),
    [
        (chat(tools=[{"name": "f"}]), "tool turn", "'tools'"),
        (chat(functions='[{"name": "f"}]'), "tool turn", "'functions'"),
        (chat(answer={"tool_calls": [{"id": 1}]}), "tool turn", "'tool_calls'"),
        (chat(answer={"function_call": {"name": "f"}}), "tool turn", "'function_call'"),
        (chat(answer={"toolCalls": [1]}), "tool turn", "'toolCalls'"),
        (chat(answer={"role": "tool"}), "tool turn", "'tool'"),
        (chat(answer={"role": "function_call"}), "tool turn", "'function_call'"),
        (chat(answer={"role": "observation"}), "tool turn", "'observation'"),
        (chat(images=["a.png"]), "other media", "'images'"),
        (chat(image="a.png"), "other media", "'image'"),
        (chat(user={"videos": ["a.mp4"]}), "other media", "'videos'"),
        (chat(screenshot="folder/a.jpeg"), "other media", "'screenshot'"),
        (chat(text=[{"type": "image_url", "image_url": {"url": "a.png"}}]), "other media", "image"),
        (chat(text=[{"type": "tool_use", "name": "f"}]), "tool turn", "tool_use"),
        (chat(answer={"reasoning_content": "hm"}), "reasoning", "'reasoning_content'"),
        (chat(answer={"thinking": "hm"}), "reasoning", "'thinking'"),
        (chat(answer={"content": [{"type": "thinking", "text": "hm"}]}), "reasoning", "thinking"),
        (chat(conversations=[{"from": "human", "value": "x"}]), "contradiction", "'conversations'"),
        (chat(user={"value": "another"}), "contradiction", "'value'"),
        (chat(system="a", system_prompt="b"), "contradiction", "'system_prompt'"),
        (chat(user={"role": "system"}, system="a"), "contradiction", "system's own turn"),
        (chat(answer={"channel": "analysis"}), "reasoning", "'analysis'"),
        (chat(user={"from": "gpt"}), "contradiction", "'role' is 'user'"),
        (chat(user={"from": None, "role": None}), "unknown role", "role ''"),
        (chat(frames=["a.png"]), "other media", "'frames'"),
        (chat(text="a.wav"), "clip in text", "a.wav"),
        (chat(user={"type": "audio"}), "unknown turn type", "'audio'"),
        (chat(attachments=[{"kind": "picture", "file": "a.png"}]), "other media", "'attachments'"),
        (chat(media={"sound": {"file": "a.mp3"}}), "wrong placeholder count", "'media'"),
        (chat(answer={"content": [{"type": "text", "text": "x", "loss": False}]}), "loss switch", "a part"),
    ],
)
def test_fields_that_change_the_meaning_are_refused_by_name(jsonl, read, row, reason, named):
    bad = reasons(read, jsonl(row))
    assert dict(bad.reasons) == {reason: 1} and named in bad.first[reason]


@pytest.mark.parametrize("empty", [None, [], "", "[]", {}, "null", False, [None]])
def test_empty_fields_mean_nothing(jsonl, read, empty):
    names = ("tools", "images", "videos", "reasoning_content", "audios", "sound")
    row = chat(answer={"tool_calls": empty, "function_call": empty}, **dict.fromkeys(names, empty))
    assert not reasons(read, jsonl(row)).reasons


@pytest.mark.parametrize(
    "key", ["audio", "audio_path", "audios", "sound", "speech", "wav", "input_audio", "recording_url", "my_file"]
)
@pytest.mark.parametrize("level", ["row", "message"])
@pytest.mark.parametrize("form", ["path", "list", "object"])
def test_a_clip_under_any_key_is_read_or_refused(jsonl, read, clip, said, key, level, form):
    name = str(clip.path.with_suffix(".wav")) if key == "my_file" else str(clip.path)
    value = {"path": name, "list": [name], "object": {"path": name}}[form]
    extra = {key: value}
    row = chat(**extra) if level == "row" else chat(extra)
    bad = reasons(read, jsonl(row))
    assert dict(bad.reasons) == {"wrong placeholder count": 1} and f"'{key}'" in bad.first["wrong placeholder count"]
    assert not read("text", BadRows(1.0), type="share_gpt", manifest_filepath=jsonl(row))
    if key != "my_file":
        row = chat(text="<audio>What?", **extra) if level == "row" else chat(extra, text="<audio>What?")
        (draw,) = read("mixed", type="share_gpt", manifest_filepath=jsonl(row))
        assert said(draw(0)) == [("user", "♪"), ("user", "What?"), ("assistant", "yes")]


def test_two_fields_of_clips_are_refused_unless_they_agree(jsonl, read, two_clips):
    one, other = (str(clip.path) for clip in two_clips)
    rows = [
        chat(text="<audio>", audios=[one], audio=other),
        chat(text="<audio>", audio=one, audio_path=one),
        chat(text="<sound>", sound=one, ori_sound=other),
    ]
    bad = reasons(read, jsonl(*rows))
    assert dict(bad.reasons) == {"wrong placeholder count": 1} and "'audios' and 'audio'" in next(
        iter(bad.first.values())
    )


@pytest.mark.parametrize("kind", ["Audio", "sound", "speech", "image", None, "video", "AUDIO", 1, ["audio"]])
def test_a_turn_of_another_type_is_refused(jsonl, read, clip, kind):
    turns = [{"from": "User", "type": kind, "value": str(clip.path)}, {"from": "Assistant", "value": "yes"}]
    bad = reasons(read, jsonl({"conversations": turns}), data_type="multimodal_conversation")
    assert dict(bad.reasons) == {"unknown turn type": 1}


@pytest.mark.parametrize("place", ["row", "turn", "no type"])
def test_clips_that_nemos_conversations_do_not_read(jsonl, read, clip, place):
    turns = [{"from": "User", "value": "What?", "type": "text"}, {"from": "Assistant", "value": "yes", "type": "text"}]
    row = {"conversations": turns}
    if place == "row":
        row["audio"] = str(clip.path)
    elif place == "turn":
        turns[0]["audio_filepath"] = str(clip.path)
    else:
        turns[0] = {"from": "User", "value": "clip.wav"}
    bad = reasons(read, jsonl(row), data_type="multimodal_conversation")
    assert list(bad.reasons) in (["clip in another field"], ["clip in text"])


@pytest.mark.parametrize("words", ["Open cat.png", "What is a.wav?", "Play song.mp3", "see data:image/png"])
def test_words_may_talk_of_files(jsonl, read, words):
    row = {"messages": [{"role": "user", "content": words}, {"role": "assistant", "content": "x.png"}]}
    assert len(read("mixed", type="share_gpt", manifest_filepath=jsonl(row))) == 1


def test_an_empty_list_of_parts_is_an_empty_message(jsonl, read, said):
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": []},
        {"role": "user", "content": []},
        {"role": "assistant", "content": "b"},
    ]
    (draw,) = read("text", type="share_gpt", manifest_filepath=jsonl({"messages": messages}))
    assert said(draw(0)) == [("user", "a"), ("assistant", ""), ("user", ""), ("assistant", "b")]
    assert [getattr(turn, "learnt", True) for turn in draw(0).turns] == [True, False, True, True]


def test_stock_salm_cannot_obey_switches(jsonl, tokenizer):
    from omegaconf import OmegaConf

    from nemo_vtb.data.data_types import read_vtb_blend
    from nemo_vtb.errors import VTBError

    row = chat() | {"messages": [*chat(answer={"loss": False})["messages"], *chat()["messages"]]}
    entry = {"type": "share_gpt", "manifest_filepath": jsonl(row)}
    blend = {"kinds": {"text": {"share": 1.0, "input_cfg": [entry]}}}
    config = {"blend": blend, "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}
    cuts, _ = read_vtb_blend(OmegaConf.create(config))
    with pytest.raises(VTBError, match="an answer is not to be learnt"):
        next(iter(cuts))


def test_numbers_are_no_pictures_and_a_null_is_no_speaker(jsonl, clip, said, capsys):
    from nemo_vtb.cli import main

    row = chat({"from": None}, text="<audio>hi", audios=[str(clip.path)], frames=480_000, objects=3)
    path = jsonl(row)
    assert main(["data", "lint", path, "--type=share_gpt", "--kind=mixed", "--processes=1"]) == 0
    out = capsys.readouterr().out
    assert "nothing reads 'frames'" in out and "nothing reads 'objects'" in out


@pytest.mark.parametrize(
    ("claim", "said"),
    [({"duration": -1}, "is -1"), ({"duration": "5,5"}, "'5,5'"), ({"offset": -0.5}, "is -0.5"), ({"sr": "x"}, "x")],
)
def test_numbers_that_are_none_have_a_remedy_of_their_own(jsonl, read, clip, claim, said):
    bad = BadRows(1.0)
    read("asr", bad, type="nemo", manifest_filepath=jsonl({"audio_filepath": str(clip.path), "text": "hi", **claim}))
    assert dict(bad.reasons) == {"wrong number": 1} and said in bad.first["wrong number"].replace("5,5", "'5,5'")
    assert "5.5" in REMEDIES["wrong number"] and "add" not in REMEDIES["wrong number"]


@pytest.mark.parametrize("listed", [True, False])
def test_one_clip_for_several_placeholders_is_nemos_sound_alone(jsonl, read, clip, said, listed):
    named = [str(clip.path)] if listed else str(clip.path)
    rows = [chat(text="<audio>one <audio>two", **{key: named}) for key in ("audio", "audios", "wav", "sound")]
    bad = BadRows(1.0)
    (draw,) = read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(*rows))
    assert said(draw(0))[:4] == [("user", "♪"), ("user", "one"), ("user", "♪"), ("user", "two")]
    assert dict(bad.reasons) == {"wrong placeholder count": 3}
    assert "more audio placeholders than entries in 'audio'" in bad.first["wrong placeholder count"]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (chat(text="<audio>", audios=[{"path": None}]), "'audios'"),
        (chat(text="<audio>", wav="data:audio/wav;base64,*"), "'wav'"),
        (chat(text=[{"type": "audio", "audio_url": {"array": [1]}}]), "'audio_url'"),
        (chat(text=[{"type": "audio", "url": "data:audio/wav,x"}]), "'url'"),
    ],
)
def test_a_bad_clip_is_named_by_the_field_that_has_it(jsonl, read, row, named):
    bad = BadRows(1.0)
    assert not read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(row))
    assert named in next(iter(bad.first.values()))


@pytest.mark.parametrize("span", [{"start": 0.1, "duration": 0.1}, {"start_time": "0.1", "end_time": "0.2"},
                                  {"onset": 0.1, "offset": 0.2}])  # fmt: skip
@pytest.mark.parametrize("place", ["row", "message", "part", "words"])
def test_a_span_in_words_that_nobody_obeys_is_refused_wherever_it_stands(jsonl, read, clip, span, place):
    named = {"audio": str(clip.path)}
    row = {
        "row": chat(text="<audio>", **named, **span),
        "message": chat({**named, **span}, text="<audio>"),
        "part": chat(text=[{"type": "audio", **named, **span}]),
        "words": chat(span, text=f"<audio>{clip.path}</audio>"),
    }[place]
    bad = BadRows(1.0)
    assert not read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(row))
    assert dict(bad.reasons) == {"wrong claim": 1}


def test_words_beside_a_clip_in_its_part_are_its_transcript_and_lint_says_so(jsonl, clip):
    part = {"type": "audio", "audio": str(clip.path)}
    rows = [chat(text=[part | {"text": "What did she say?"}]), chat(text=[part | {"transcript": "hello"}])]
    result = LintResult()
    lint_entry({"type": "share_gpt", "manifest_filepath": jsonl(*rows)}, "mixed", READING, result, processes=1)
    assert [(f.line, f.severity, f.reason) for f in result.findings] == [(1, "note", "words beside a clip")]


def test_unread_fields_are_reported_with_counts_and_training_says_them_once(jsonl, caplog, capsys):
    rows = [chat({"mood": "glad"}, weather="dry", id="1"), chat(weather="wet", source="x", custom={"a": 1}), chat()]
    path = jsonl(*rows)
    result = LintResult()
    lint_entry({"type": "share_gpt", "manifest_filepath": path}, "mixed", READING, result, processes=1)
    assert sorted((f.line, f.severity, f.reason, f.message) for f in result.findings) == [
        (1, "warning", "unread field", "nothing reads 'messages[].mood' (1 rows, this one first)"),
        (1, "warning", "unread field", "nothing reads 'weather' (2 rows, this one first)"),
    ]
    for _ in range(2):  # made, and opened again
        caplog.clear()
        open_source({"type": "share_gpt", "manifest_filepath": path, "name": "s"}, "mixed", READING)
        said = [record.message for record in caplog.records if "nothing reads" in record.message]
        assert said == [
            "nemo_vtb: mixed/s: nothing reads 'messages[].mood' (1 rows)",
            "nemo_vtb: mixed/s: nothing reads 'weather' (2 rows)",
        ]


def test_fields_are_followed_where_they_are_read():
    row = parse_line(json.dumps({"a": {"b": 1, "c": 2}, "d": [{"e": 1}], "f": 3, "id": 4, "g": []}).encode(), Tracked)
    assert sorted(unread(row)) == ["a", "d", "f"]
    row["a"]["b"], row.get("d")
    assert sorted(unread(row)) == ["a.c", "d[].e", "f"]


def test_manifests_name_what_they_do_not_read(jsonl, clip, read):
    row = {"audio_filepath": str(clip.path), "text": "hi", "speaker": "x", "bandwidth": 8000}
    result = LintResult()
    lint_entry({"type": "nemo", "manifest_filepath": jsonl(row)}, "asr", READING, result, processes=1)
    assert [f.message for f in result.findings] == ["nothing reads 'bandwidth' (1 rows, this one first)"]
    bad = BadRows(1.0)
    read("asr", bad, type="nemo", manifest_filepath=jsonl({"audio": str(clip.path), "text": "hi"}))
    assert "the clip is under 'audio' (audio_field)" in bad.first["missing field"]


@pytest.mark.parametrize("value", [False, 0])
def test_a_field_that_is_off_is_reported_as_well(jsonl, value):
    result = LintResult()
    entry = {"type": "share_gpt", "manifest_filepath": jsonl(chat(answer={"enabled": value}))}
    lint_entry(entry, "mixed", READING, result, processes=1)
    assert [f.message for f in result.findings] == ["nothing reads 'messages[].enabled' (1 rows, this one first)"]


def test_a_field_that_stands_twice_is_refused_unless_it_says_the_same(jsonl, read, clip):
    row = f'{{"audio_filepath": "{clip.path}", "text": "hi", "text": '
    result = LintResult()
    lint_entry({"type": "nemo", "manifest_filepath": jsonl(row + '"ho"}', row + '"hi"}')}, "asr", READING, result)
    assert [(f.line, f.reason) for f in result.findings if f.severity == "error"] == [(1, "broken JSON")]
    assert "'text' stands twice" in result.findings[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (42, "'text' is not a str but an int"),
        (["a"], "'text' is not a str but a list"),
        (1.5, "a float"),
        ("", "'text' is empty (keep_empty: true"),
        (" \u200b ", "'text' is empty"),
        (None, "the row has no text"),
    ],
)
def test_transcripts_that_are_no_text(jsonl, read, clip, text, message):
    bad = BadRows(1.0)
    assert not read("asr", bad, type="nemo", manifest_filepath=jsonl({"audio_filepath": str(clip.path), "text": text}))
    assert message in next(iter(bad.first.values()))


def test_empty_transcripts_can_be_kept(jsonl, clip, tokenizer):
    from nemo_vtb.data.dataset import VTBDataset

    path = jsonl({"audio_filepath": str(clip.path), "text": ""})
    dataset = VTBDataset(tokenizer, "chatml", "<|audio|>")
    reading = Reading("<|audio|>", 0.08, encoder=dataset)
    source = open_source({"type": "nemo", "manifest_filepath": path, "keep_empty": True}, "asr", reading)
    assert source.size(0).supervised == 1  # the end of the turn
    assert tokenizer.ids_to_text(dataset.encode(source.draw(0, 0)).input_ids[-2:].tolist(), False).startswith(
        "<|im_end|>"
    )


def test_names_that_hold_clips_and_those_that_do_not():
    holding = {"audio": "x", "Audio-Path": "x", "wavs": ["x"], "any": "data:audio/wav;base64,", "thing": "b.flac"}
    assert clip_fields(holding) == list(holding)
    assert not clip_fields(
        {
            "audio_lang": "en",
            "sound": None,
            "audio": 3,
            "source": "a.wav",
            "note": "hear a.wav now",
            "custom": {"audio": "x"},
            "recording_date": "2020",
        }
    )


def test_a_system_prompt_is_said_once(jsonl, read):
    turns = chat()["messages"]
    opened = [{"role": "system", "content": "Be brief. "}, *turns]
    path = jsonl({"messages": opened, "system": "Be brief."}, {"messages": turns, "system": "Be brief."})
    for draw in read("text", type="share_gpt", manifest_filepath=path):
        assert [turn.role for turn in draw(0).turns] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("row", "given", "kind", "looks"),
    [
        ({"messages": [{"role": "user", "content": "x"}]}, "multimodal_conversation", "text", "share_gpt"),
        ({"messages": [{"role": "user", "content": "x"}]}, "nemo_sft_jsonl", "text", "share_gpt"),
        ({"conversations": [{"from": "User", "type": "text", "value": "x"}]}, "nemo", "asr", "multimodal_conversation"),
        ({"audio_filepath": "a.wav", "text": "x"}, "multimodal_conversation", "mixed", "nemo"),
    ],
)
def test_rows_of_another_type_name_it(jsonl, row, given, kind, looks):
    files = "paths" if given == "nemo_sft_jsonl" else "manifest_filepath"
    with pytest.raises(VTBError, match=f":1: .*looks like one of type: {looks} "):
        open_source({"type": given, files: jsonl(row)}, kind, READING)
