"""What an object says of the clip that it names counts as much as what its row says, and it names one clip."""

import json

import numpy as np
import pytest
import soundfile

from nemo_vtb.data.files.rows import BadRows

ANSWER = {"role": "assistant", "content": "yes"}
SAMPLES = [0.1, -0.1] * 4000


@pytest.fixture(autouse=True)
def recordings(tmp_path):
    for name, channels in (("a.wav", 1), ("b.wav", 1), ("call.wav", 2)):
        soundfile.write(tmp_path / name, np.full((32_000, channels), 0.1, "float32"), 16_000)


def chat(clip, **row):
    return {"messages": [{"role": "user", "content": "<audio>What?"}, ANSWER], "audios": [clip], **row}


def part(**fields):
    content = [{"type": "audio", **fields}, {"type": "text", "text": "What?"}]
    return {"messages": [{"role": "user", "content": content}, ANSWER]}


def one(read, jsonl, row, **entry):
    """The clip of a row, or the reason for which there is none and what is said."""
    bad = BadRows(1.0)
    draws = read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(row), **entry)
    return draws[0](0).list_cuts()[0] if draws else next(iter(bad.first.items()))


@pytest.mark.parametrize(
    "row",
    [
        chat({"path": "a.wav", "offset": 0.5, "duration": 1.0}),
        chat({"path": "a.wav", "offset": 0.5}, duration=1.0),
        part(audio={"path": "a.wav", "offset": 0.5, "duration": 1.0, "sampling_rate": 16_000}),
        part(audio_url={"url": "a.wav", "offset": 0.5, "duration": "1.0"}),
    ],
)
def test_a_span_within_the_object_is_heard(read, jsonl, row):
    cut = one(read, jsonl, row)
    assert (cut.start, cut.duration) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("row", "reason", "named"),
    [
        (chat({"path": "a.wav", "sampling_rate": 8000}), "wrong claim", "8000 Hz"),
        (part(audio={"path": "a.wav", "sample_rate": 8000}), "wrong claim", "8000 Hz"),
        (chat({"path": "a.wav", "start": 0.5, "end": 1.0}), "wrong claim", "'start' and 'end'"),
        (chat({"path": "call.wav", "channel": 1}), "which channel", "'channel'"),
        (chat({"path": "a.wav", "duration": 1.0}, duration=0.5), "contradiction", "'duration' is 1.0 under"),
        (part(path="a.wav", url="b.wav"), "contradiction", "a.wav"),
        (part(audio="a.wav", path="b.wav"), "contradiction", "b.wav"),
        (part(audio={"path": "a.wav", "url": "b.wav"}), "contradiction", "'audio'"),
        (chat({"path": "a.wav", "file": "b.wav"}), "contradiction", "'audios'"),
        (part(array=SAMPLES, sampling_rate=0.5), "wrong number", "sampling_rate"),
        (part(array=SAMPLES, sampling_rate="16k"), "wrong number", "'16k'"),
        (part(array=SAMPLES), "missing field", "no sampling_rate"),
        (part(path="a.wav", offset=True), "wrong number", "'offset' is not a number: True"),
    ],
)
def test_what_it_claims_is_held_against_the_clip(read, jsonl, row, reason, named):
    found, said = one(read, jsonl, row)
    assert found == reason and named in said


@pytest.mark.parametrize(
    "row",
    [
        part(audio={"path": "a.wav", "url": "https://example.org/b.wav"}),
        part(audio={"path": "./a.wav", "file_name": "a.mp3"}),
        part(audio="a.wav", url=None),
        part(array=SAMPLES, sampling_rate=16_000.0, path="other.wav"),
        chat("a.wav", audios='["a.wav"]'),
    ],
)
def test_other_words_for_one_clip_are_fine(read, jsonl, row):
    assert one(read, jsonl, row).sampling_rate == 16_000


def test_a_channel_is_chosen_by_the_object(read, jsonl):
    row = chat({"path": "call.wav", "channel": 1})
    assert one(read, jsonl, row, channel_selector="channel").channel == 1


def test_a_beginning_that_nobody_obeys_is_said(jsonl, capsys):
    from nemo_vtb.cli import main

    path = jsonl(part(path="a.wav", start_time=1.0), chat({"path": "a.wav", "begin": 1.0}))
    assert main(["data", "lint", path, "--kind=mixed", "--processes=1"]) == 0
    out = capsys.readouterr().out
    assert "nothing reads 'messages[].content[].start_time'" in out and "nothing reads 'audios[].begin'" in out


def test_an_empty_id_is_none(read, jsonl):
    rows = [json.loads(json.dumps(chat("a.wav", id=""))) for _ in range(2)]
    names = [draw(0).id for draw in read("mixed", type="share_gpt", manifest_filepath=jsonl(*rows))]
    assert len(set(names)) == 2 and all(name.endswith((":1", ":2")) for name in names)
