"""What people have becomes conversations: chat files, manifests and cuts of every type."""

import json

import numpy as np
import pytest

from nemo_vtb.data.files.rows import BadRow, BadRows
from nemo_vtb.errors import VTBError

ANSWER = [{"from": "Assistant", "value": "hello"}]


def reasons(read, kind, **entry):
    bad = BadRows(1.0)
    read(kind, bad, **entry)
    return dict(bad.reasons)


def test_ms_swift_rows_with_several_clips_turns_and_a_system_prompt(jsonl, two_clips, read, said):
    first, second = (str(clip.path) for clip in two_clips)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "<audio>Which is longer, this or <audio>?"},
        {"role": "assistant", "content": "The second."},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes."},
    ]
    parts = [{"type": "text", "text": "Again:"}, {"type": "audio", "audio": first}, {"type": "audio"}]
    rows = [
        {"messages": messages, "audios": [first, second]},
        {"messages": [{"role": "user", "content": parts}, messages[2]], "audios": second},
    ]
    swift, typed = read("mixed", type="share_gpt", manifest_filepath=jsonl(*rows))
    assert said(swift(0)) == [
        ("system", "Be brief."), ("user", "♪"), ("user", "Which is longer, this or"), ("user", "♪"), ("user", "?"),
        ("assistant", "The second."), ("user", "Sure?"), ("assistant", "Yes."),
    ]  # fmt: skip
    assert [cut.id.split("@")[0] for cut in swift(0).list_cuts()] == [first, second]
    assert said(typed(0)) == [("user", "Again:"), ("user", "♪"), ("user", "♪"), ("assistant", "The second.")]
    assert swift(0).id.endswith("/rows.jsonl:1")


def test_nemo_share_gpt_rows_name_one_clip(jsonl, two_clips, read, said):
    turns = [{"from": "human", "value": "<sound>\nWhat is said?"}, {"from": "gpt", "value": "hello"}]
    rows = [
        {"id": "x", "sound": str(two_clips[0].path), "conversations": turns},
        {"ori_sound": str(two_clips[1].path), "conversations": [{"from": "human", "value": "Say: <speech>"}, turns[1]]},
    ]
    sound, ori = read("sqa", type="share_gpt", manifest_filepath=jsonl(*rows))
    assert said(sound(0)) == [("user", "♪"), ("user", "What is said?"), ("assistant", "hello")]
    assert said(ori(0)) == [("user", "Say:"), ("user", "♪"), ("assistant", "hello")]


def test_html_in_plain_text_is_no_clip(jsonl, read, said):
    row = {
        "conversations": [{"from": "human", "value": "What does <audio> do in HTML?"}, {"from": "gpt", "value": "x"}]
    }
    path = jsonl(row)
    (draw,) = read("text", type="share_gpt", manifest_filepath=path)
    assert said(draw(0))[0] == ("user", "What does <audio> do in HTML?")
    assert reasons(read, "mixed", type="share_gpt", manifest_filepath=path) == {"wrong placeholder count": 1}


def test_nemo_sft_with_a_system_prompt_and_masks(jsonl, read, said):
    turns = [{"from": "User", "value": "hi"}, *ANSWER]
    rows = [
        {"system": "Be kind.", "mask": "User", "conversations": turns},
        {"system": "", "conversations": turns},
        {"mask": "Assistant", "conversations": turns},
    ]
    bad = BadRows(1.0)
    kind, plain = read("text", bad, type="nemo_sft_jsonl", paths=[jsonl(*rows)])
    assert said(kind(0)) == [("system", "Be kind."), ("user", "hi"), ("assistant", "hello")]
    assert said(plain(0))[0] == ("user", "hi") and dict(bad.reasons) == {"nothing supervised": 1}


@pytest.mark.parametrize("data_type", ["multimodal_conversation", "share_gpt", "nemo_sft_jsonl"])
def test_tags_open_conversations_and_travel_along(jsonl, read, said, data_type):
    path = jsonl({"id": "1", "conversations": [{"from": "User", "value": "hi"}, *ANSWER]})
    key = "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath"
    (draw,) = read("text", type=data_type, **{key: path}, tags={"system_prompt": "Be kind.", "licence": "CC0"})
    assert said(draw(0))[0] == ("system", "Be kind.")
    assert draw(0).custom == {"licence": "CC0", "kind": "text", "source": "test"}


def test_a_context_tag_opens_conversations_that_begin_with_a_clip(jsonl, two_clips, read, said):
    clip = {"from": "User", "type": "audio", "value": str(two_clips[0].path)}
    path = jsonl(
        {"conversations": [clip, *ANSWER]}, {"conversations": [{"from": "User", "value": "Hm:"}, clip, *ANSWER]}
    )
    first, second = read("asr", manifest_filepath=path, tags={"context": "Transcribe:"})
    assert said(first(0))[:2] == [("user", "Transcribe:"), ("user", "♪")]
    assert said(second(0))[:2] == [("user", "Hm:"), ("user", "♪")]


def test_languages_come_from_the_row_and_tags_overrule_it(jsonl, two_clips, read, tmp_path):
    pool = tmp_path / "pool.yaml"
    pool.write_text(
        "asr: {any: ['In {source}:']}\nast: {any: ['{source} to {target}:'], de: ['Von {source} nach {target}:']}\n"
        "languages: {any: {en: English, es: Spanish, de: German}, de: {en: Englisch, de: Deutsch}}\n"
    )
    row = {"audio_filepath": str(two_clips[0].path), "text": "x", "translation": "y", "lang": "en", "target_lang": "es"}

    def asked(kind, row, **entry):
        draws = read(kind, type="nemo", manifest_filepath=jsonl(row), prompts=str(pool), **entry)
        return {draws[0](epoch).turns[0].value for epoch in range(20)}

    assert asked("ast", row) == {"English to Spanish:"}
    tags = {"source_lang": "en", "target_lang": "de"}
    assert asked("ast", row, tags=tags) == {"English to German:", "Von Englisch nach Deutsch:"}
    assert asked("asr", {**row, "lang": None}, tags={"source_lang": "es"}) == {"In Spanish:"}
    del row["target_lang"]
    entry = {"type": "nemo", "manifest_filepath": jsonl(row), "prompts": str(pool)}
    assert reasons(read, "ast", **entry) == {"missing language": 1}
    # Without the language of the audio, no wording that names it is used.
    assert reasons(read, "asr", **{**entry, "manifest_filepath": jsonl({**row, "lang": None})}) == {
        "no fitting prompt": 1
    }


def test_text_field_names_where_the_answer_stands(jsonl, two_clips, read, said):
    row = {"audio_filepath": str(two_clips[0].path), "text": "hola", "target_lang": "es", "spoken": "hello"}
    entry = {"type": "nemo", "manifest_filepath": jsonl(row), "prompts": "quickstart"}
    assert reasons(read, "ast", **entry) == {"nothing supervised": 1}
    (translated,) = read("ast", **entry, text_field="text")
    assert said(translated(0))[-1] == ("assistant", "hola")
    assert translated(0).turns[1].text is None  # a translation is not what was said
    (spoken,) = read("asr", **entry, text_field="spoken")
    assert said(spoken(0))[-1] == ("assistant", "hello") and spoken(0).turns[1].text == "hello"


def test_questions_of_a_manifest(jsonl, two_clips, read, said):
    row = {"audio_filepath": str(two_clips[0].path), "text": "call anna", "question": "Who?", "answer": "anna"}
    (draw,) = read("sqa", type="nemo", manifest_filepath=jsonl(row))
    assert said(draw(0)) == [("user", "♪"), ("user", "Who?"), ("assistant", "anna")]
    assert draw(0).turns[0].text == "call anna"
    with pytest.raises(VTBError, match=r"kinds\.mixed: type nemo holds utterances; it gives asr, ast, sqa"):
        read("mixed", type="nemo", manifest_filepath=jsonl(row))


def test_spans_and_rows_marked_to_skip(jsonl, two_clips, read):
    path, duration = str(two_clips[0].path), two_clips[0].duration
    rows = [
        {"audio_filepath": path, "text": "a", "offset": 0.2, "duration": 0.3},
        {"audio_filepath": path, "text": "b", "_skipme": True},
        {"audio_filepath": path, "text": "c", "custom": {"_skipme": 1}},
        {"audio_filepath": path, "text": "d", "duration": duration, "sampling_rate": 16000},
    ]
    span, whole = (draw(0).list_cuts()[0] for draw in read("asr", type="nemo", manifest_filepath=jsonl(*rows)))
    assert span.id.endswith("@0.200+0.300")
    audio = whole.load_audio()
    np.testing.assert_array_equal(span.load_audio(), audio[:, 3200:8000])


def test_lhotse_cuts_plain_gzipped_and_mixed(tmp_path, two_clips, read, said):
    from lhotse import CutSet, Recording, SupervisionSegment

    cuts = []
    for number, clip in enumerate(two_clips):
        cut = Recording.from_file(clip.path).to_cut().with_id(f"c{number}")
        parts = clip.text.split(maxsplit=1)
        cut.supervisions = [
            SupervisionSegment(f"s{i}", cut.recording_id, 0.1 * i, 0.1, text=part, language="en")
            for i, part in reversed(list(enumerate(parts)))
        ]
        cut.custom = {"context": "Write:", "answer": "hola", "target_lang": "es"}
        cuts.append(cut)
    mixed = cuts[0].append(cuts[1]).with_id("both")
    CutSet.from_cuts([*cuts, mixed]).to_file(tmp_path / "cuts.jsonl.gz")
    CutSet.from_cuts([*cuts, mixed]).to_file(tmp_path / "cuts.jsonl")
    packed = read("asr", type="lhotse", cuts_path=f"{tmp_path}/cuts.jsonl.gz")
    plain = read("asr", type="lhotse_as_conversation", cuts_path=f"{tmp_path}/cuts.jsonl")
    assert [said(draw(0)) for draw in packed] == [said(draw(0)) for draw in plain]
    assert said(plain[0](0)) == [("user", "Write:"), ("user", "♪"), ("assistant", two_clips[0].text)]
    (both,) = plain[2](0).list_cuts()
    np.testing.assert_array_equal(both.load_audio(), mixed.load_audio())
    assert all(str(clip.path) in both.id for clip in two_clips)
    (spanish, *_) = read("ast", type="lhotse", cuts_path=f"{tmp_path}/cuts.jsonl")
    assert said(spanish(0))[-1] == ("assistant", "hola")


def test_a_mix_of_cuts_can_be_batched(tmp_path, two_clips, read, tokenizer):
    from lhotse import CutSet, Recording, SupervisionSegment

    from nemo_vtb.data.dataset import VTBDataset

    cuts = [Recording.from_file(clip.path).to_cut().with_id(clip.path.stem) for clip in two_clips]
    cuts[0].supervisions = [SupervisionSegment("s", cuts[0].recording_id, 0, 0.5, text="hi")]
    CutSet.from_cuts([cuts[0].append(cuts[1])]).to_file(tmp_path / "cuts.jsonl")
    (draw,) = read("asr", type="lhotse", cuts_path=f"{tmp_path}/cuts.jsonl")
    batch = VTBDataset(tokenizer, "qwen")[[draw(0)]]
    assert batch["audios"].shape == (1, sum(cut.num_samples for cut in cuts))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"type": "command", "channels": [0], "source": "touch {marker}; cat {clip}"}, "unsafe path"),
        ({"type": "url", "channels": [0], "source": "http://localhost/a.wav"}, "remote audio"),
        ({"type": "file", "channels": [0], "source": "../../../{clip}"}, "unsafe path"),
        ({"type": "file", "channels": [0], "source": "pipe:touch {marker}"}, "unsafe path"),
        ({"type": "file", "channels": [0], "source": "gone.wav"}, "missing audio"),
        ("what", "unsafe path"),
    ],
)
def test_a_cut_cannot_run_commands_or_leave_its_folder(tmp_path, two_clips, jsonl, read, source, reason):
    from lhotse import Recording, SupervisionSegment

    cut = Recording.from_file(two_clips[0].path).to_cut()
    cut.supervisions = [SupervisionSegment("s", cut.recording_id, 0, 0.5, text="hi")]
    row, marker = cut.to_dict(), tmp_path / "ran"
    if isinstance(source, dict):
        source = {**source, "source": source["source"].format(marker=marker, clip=two_clips[0].path)}
    row["recording"]["sources"] = [source]
    mixed = {"id": "m", "type": "MixedCut", "tracks": [{"cut": row, "type": "MonoCut", "offset": 0.0}]}
    path = jsonl(row, mixed)
    assert reasons(read, "asr", type="lhotse", cuts_path=path) == {reason: 2}
    assert not marker.exists()


def test_paths_stay_below_the_manifest_or_the_audio_root(tmp_path, two_clips, jsonl, read):
    (tmp_path / "outside.ogg").write_bytes(two_clips[0].path.read_bytes())
    root = tmp_path / "corpus"
    (root / "audio").mkdir(parents=True)
    (root / "audio" / "in.ogg").write_bytes(two_clips[0].path.read_bytes())
    (root / "audio" / "link.ogg").symlink_to(tmp_path / "outside.ogg")

    def rows(*names):
        return jsonl(*({"audio_filepath": name, "text": "x"} for name in names), name="corpus/lists/train.jsonl")

    inside = rows("../audio/in.ogg", "audio/in.ogg")
    assert reasons(read, "asr", type="nemo", manifest_filepath=inside) == {"unsafe path": 1, "missing audio": 1}
    assert len(read("asr", type="nemo", manifest_filepath=inside, audio_root=str(root))) == 2
    outside = rows("audio/link.ogg", "../../outside.ogg", str(tmp_path / "outside.ogg"), "http://x/y.wav", "a\0b")
    bad = {"unsafe path": 4, "remote audio": 1}
    assert reasons(read, "asr", type="nemo", manifest_filepath=outside, audio_root=str(root)) == bad


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "no assistant turn"),
        ([{"from": "User", "value": "hi"}], "no assistant turn"),
        ([{"from": "User", "value": "hi"}, {"from": "Assistant", "value": "  "}], "nothing supervised"),
        ([*ANSWER, {"from": "User", "value": "hi"}], "turn order"),
        ([{"from": "User", "value": "a"}, *ANSWER, {"from": "System", "value": "b"}], "turn order"),
        ([{"from": "System", "value": "b"}, *ANSWER], "turn order"),
        ([{"from": "Bing", "value": "hi"}, *ANSWER], "unknown role"),
        ([{"from": "User"}, *ANSWER], "missing field"),
        ([{"from": "User", "value": "\ud800"}, *ANSWER], "broken JSON"),
        ([{"from": "User", "value": "hi"}, {"from": "Assistant", "type": "audio", "value": "CLIP"}], "audio answer"),
        ([{"from": "User", "type": "audio", "value": "CLIP", "offset": 99}, *ANSWER], "truncated audio"),
        ([{"from": "User", "type": "audio", "value": "CLIP", "duration": 99}, *ANSWER], "truncated audio"),
        ([{"from": "User", "type": "audio", "value": "CLIP", "duration": 0}, *ANSWER], "zero length"),
        ([{"from": "User", "type": "audio", "value": "CLIP", "duration": float("nan")}, *ANSWER], "wrong number"),
        ([{"from": "User", "type": "audio", "value": "x" * 5000}, *ANSWER], "missing audio"),
    ],
)
def test_each_class_of_bad_conversation_has_a_name(jsonl, two_clips, read, turns, reason):
    turns = [{**turn, "value": str(two_clips[0].path)} if turn.get("value") == "CLIP" else turn for turn in turns]
    path = jsonl(json.dumps({"conversations": turns}))
    assert reasons(read, "mixed", manifest_filepath=path) == {reason: 1}


@pytest.mark.parametrize(
    "line", ["{", "[1]", '"x"', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", '{"conversations": 7}', "nul\0l"]
)
def test_lines_that_are_no_rows_are_skipped_by_name(jsonl, read, line):
    bad = BadRows(1.0)
    good = {"conversations": [{"from": "User", "value": "hi"}, *ANSWER]}
    assert len(read("text", bad, manifest_filepath=jsonl(line, good))) == 1
    assert sum(bad.reasons.values()) == 1


def test_a_file_that_is_not_utf8_loses_one_line_only(tmp_path, read):
    good = json.dumps({"conversations": [{"from": "User", "value": "hi"}, *ANSWER]}).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + good + b'\n{"x": "\xff"}\n' + good)
    bad = BadRows(1.0)
    assert len(read("text", bad, manifest_filepath=str(tmp_path / "a.jsonl"))) == 2
    assert dict(bad.reasons) == {"broken JSON": 1}


def test_a_damaged_gzip_file_is_named(tmp_path, read):
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0garbage")
    with pytest.raises(VTBError, match=r"a\.jsonl\.gz cannot be read"):
        read("text", manifest_filepath=str(tmp_path / "a.jsonl.gz"))


def test_an_unknown_type_and_a_missing_key_are_named(read):
    with pytest.raises(VTBError, match=r"unknown type 'csv'; known: .*lhotse_shar"):
        read("text", type="csv")
    with pytest.raises(VTBError, match="type lhotse needs cuts_path"):
        read("asr", type="lhotse")


def test_a_bad_row_survives_the_way_from_a_worker():
    import pickle

    error = pickle.loads(pickle.dumps(BadRow("missing audio", "no file")))  # noqa: S301
    assert (error.reason, str(error)) == ("missing audio", "no file")
