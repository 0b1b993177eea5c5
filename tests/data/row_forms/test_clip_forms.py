"""Clips in every form in which people name them within a message."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_vtb.data.dataset import VTBDataset, clip_name
from nemo_vtb.data.files.rows import BadRows

ANSWER = {"role": "assistant", "content": "yes"}


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(8000) / 20).astype("float32"), 16000)
    return path


def data_of(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


def parts(path):
    data, samples = data_of(path), soundfile.read(path)[0].tolist()
    return {
        "OpenAI's input_audio": {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        "audio_url with data": {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}},
        "audio_url": {"type": "audio_url", "audio_url": {"url": "a.wav"}},
        "Transformers' path": {"type": "audio", "path": "a.wav"},
        "Transformers' url": {"type": "audio", "url": "a.wav"},
        "Transformers' audio": {"type": "audio", "audio": "a.wav"},
        "audio_url as a text": {"type": "audio", "audio_url": "a.wav"},
        "a file URL": {"type": "audio", "url": path.as_uri()},
        "an object": {"type": "audio", "audio": {"path": "a.wav"}},
        "datasets, decoded": {"type": "audio", "audio": {"array": samples, "sampling_rate": 16000, "path": "a.wav"}},
        "samples in the part": {"type": "audio", "array": samples, "sampling_rate": 16000},
        "base64 under audio": {"type": "audio", "audio": data},
        "Qwen's list": {"audio": "a.wav"},
        "Type in capitals": {"type": "Audio", "audio": "a.wav"},
        "sound": {"type": "sound", "sound": "a.wav"},
    }


@pytest.mark.parametrize(
    "form",
    [
        "OpenAI's input_audio",
        "audio_url with data",
        "audio_url",
        "Transformers' path",
        "Transformers' url",
        "Transformers' audio",
        "audio_url as a text",
        "a file URL",
        "an object",
        "datasets, decoded",
        "samples in the part",
        "base64 under audio",
        "Qwen's list",
        "Type in capitals",
        "sound",
    ],
)
def test_parts_with_their_clip(jsonl, read, said, wav, tokenizer, form):
    row = {"messages": [{"role": "user", "content": [parts(wav)[form], {"type": "text", "text": "What?"}]}, ANSWER]}
    (draw,) = read("mixed", type="share_gpt", manifest_filepath=jsonl(row))
    assert said(draw(0)) == [("user", "♪"), ("user", "What?"), ("assistant", "yes")]
    loaded = VTBDataset(tokenizer, "chatml", "<|audio|>").load(draw(0))
    assert len(loaded.signals[0]) == 8000 and loaded.signals[0].abs().max() > 0.2
    assert clip_name(loaded.conversation.list_cuts()[0])


@pytest.mark.parametrize(
    ("text", "row", "heard"),
    [
        ("Audio 1: <audio>a.wav</audio>\nWhat?", {}, ["Audio 1:", "♪", "What?"]),
        ("<audio>a.wav</audio>What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ("<audio>other/a.wav</audio>What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ("Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhat?", {"audios": ["a.wav"]}, ["Audio 1:", "♪", "What?"]),
        ("<|AUDIO|>", {"audio": "a.wav"}, ["♪"]),
        ("<sound>a.wav</sound> <speech>a.wav</speech>", {}, ["♪", "♪"]),
        ("<|audio_1|><|audio_2|> same?", {"audios": ["a.wav", "a.wav"]}, ["♪", "♪", "same?"]),
        ("<speech> what? <speech>", {"speech": "a.wav"}, ["♪", "what?", "♪"]),
        ("<sound> which?", {"sound": ["a.wav", "a.wav"]}, ["♪", "♪", "which?"]),
        ("<sound> or <sound>", {"sound": ["a.wav", "a.wav"], "duration": [0.2, 0.3]}, ["♪", "or", "♪"]),
        ("<|audio_start|><|audio_pad|><|audio_end|>What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ("<|audio|>What?", {"audio": "a.wav"}, ["♪", "What?"]),
        ("<|begin_of_audio|><|audio|><|end_of_audio|>What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ("[BEGIN_AUDIO][AUDIO]What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ("<audio_soft_token>What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ("<Speech><SpeechHere></Speech>What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ("(<audio>./</audio>)What?", {"audios": ["a.wav"]}, ["♪", "What?"]),
        ([{"type": "text", "text": "<audio>What?"}], {"audios": ["a.wav"]}, ["♪", "What?"]),
    ],
)
def test_placeholders_with_their_clip(jsonl, read, said, wav, text, row, heard):
    written = jsonl({"messages": [{"role": "user", "content": text}, ANSWER], **row})
    (draw,) = read("mixed", type="share_gpt", manifest_filepath=written)
    assert [words for role, words in said(draw(0)) if role == "user"] == heard


def test_spans_of_clips_are_those_of_the_row_the_message_or_the_part(jsonl, read, wav):
    span = {"offset": 0.1, "duration": 0.2}
    rows = [
        {"messages": [{"role": "user", "content": "<audio>"}, ANSWER], "audios": ["a.wav"], **span},
        {"messages": [{"role": "user", "content": "<audio>", **span}, ANSWER], "audios": ["a.wav"]},
        {"messages": [{"role": "user", "content": [{"type": "audio", "audio": "a.wav", **span}]}, ANSWER]},
    ]
    for draw in read("mixed", type="share_gpt", manifest_filepath=jsonl(*rows)):
        (cut,) = draw(0).list_cuts()
        assert (cut.start, cut.duration) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("content", "row", "message"),
    [
        ("<audio>b.wav</audio>", {"audios": ["a.wav"]}, "the text names 'b.wav'"),
        ("<audio>", {}, "neither its message nor its row names a clip"),
        ("<audio>", {"audios": ["a.wav", "a.wav"]}, "1 entries in 'audios'"),
        ("<sound><sound>", {"sound": ["a.wav"] * 3}, "1 entries in 'sound'"),
        ("<audio> <audio>", {"audios": ["a.wav", "a.wav"], "offset": 0.1}, "of which of its clips"),
        ([{"type": "audio", "audio": {"data": "!!", "format": "wav"}}], {}, "is not base64"),
        ([{"type": "audio", "audio": {"data": "AAAA", "format": "wav"}}], {}, "cannot be read"),
        ([{"type": "audio", "audio": "data:audio/wav,abc"}], {}, "is not base64"),
        ([{"type": "audio", "audio": "https://example.com/a.wav"}], {}, "example.com"),
        ([{"type": "audio", "audio": {"array": [0.1], "path": "x"}}], {}, "no sampling_rate"),
        ([{"type": "audio", "audio": {"array": ["x"], "sampling_rate": 8000}}], {}, "no numbers"),
        ([{"type": "audio", "audio": {"bytes": {"$cell": [0, "audio"]}}}], {}, "comes from none"),
        ([{"type": "audio"}], {}, "neither its message nor its row names a clip"),
        ([{"type": "text", "text": "x", "audio": "a.wav"}], {}, "names a clip under 'audio'"),
        (["words", 3], {}, "neither text nor audio"),
        ("<|audio_2|> or <|audio_1|>", {"audios": ["a.wav", "a.wav"]}, "number 2 stands for clip 1"),
        ("<|audio|>What?", {}, "neither its message nor its row names a clip"),
        ("<image>What?", {}, "<image> in the text"),
        ("<|image_1|><audio>What?", {"audios": ["a.wav"]}, "<|image_1|> in the text"),
        ("<wav>a.wav</wav>What?", {}, "in a form that nobody reads"),
        ("<audio src='a.wav'/>What?", {}, "in a form that nobody reads"),
        ("![speech](a.wav) What?", {}, "in a form that nobody reads"),
        ([{"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}}], {}, "neither a text, nor a clip, nor a type"),
    ],
)
def test_what_cannot_be_heard_is_refused_with_what_is_wrong(jsonl, read, wav, content, row, message):
    bad = BadRows(1.0)
    path = jsonl({"messages": [{"role": "user", "content": content}, ANSWER], **row})
    assert not read("mixed", bad, type="share_gpt", manifest_filepath=path)
    assert message in next(iter(bad.first.values()))


def test_an_answer_may_talk_of_tags(jsonl, read, said, wav):
    row = {
        "messages": [{"role": "user", "content": "<audio> How?"}, {"role": "assistant", "content": "Write <audio>."}],
        "audios": ["a.wav"],
    }
    (draw,) = read("mixed", type="share_gpt", manifest_filepath=jsonl(row))
    assert said(draw(0))[-1] == ("assistant", "Write <audio>.")


def test_tags_with_a_recording_are_none_in_plain_text(jsonl, read):
    row = {"messages": [{"role": "user", "content": "<audio>a.wav</audio> What?"}, ANSWER]}
    bad = BadRows(1.0)
    assert not read("text", bad, type="share_gpt", manifest_filepath=jsonl(row)) and bad.reasons == {"missing audio": 1}


def test_rows_as_json_text(jsonl, read, said):
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ANSWER]
    (draw,) = read("mixed", type="share_gpt", manifest_filepath=jsonl({"messages": json.dumps(messages)}))
    assert said(draw(0)) == [("user", "ab"), ("assistant", "yes")]
