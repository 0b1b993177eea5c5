"""Plain rows are weighed by a short way: whatever stands in a file, its index is that of the careful way."""

from pathlib import Path

import numpy as np
import pytest

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.sources import index_build
from nemo_vtb.data.sources.index_build import build_index
from nemo_vtb.data.sources.row_check import plain_size
from nemo_vtb.data.sources.source import Reading, named_files

CORPORA = Path(__file__).parents[3] / "examples" / "corpora"


def said(*texts, roles=("User", "Assistant"), **fields):
    turns = [{"from": roles[n % len(roles)], "type": "text", "value": text} for n, text in enumerate(texts)]
    return {"id": "t", "conversations": turns, **fields}


CHATS = [
    said("How are you?", "Well. And you?"),
    said("(a) or\n\n(b)?", "b"),
    said("3 times 4", "12", "more", "  indented\n\n  answer \n"),
    said("", "An answer to nothing."),
    said("Grüße! 你好 🙂", "\u0301 a mark first"),
    said("\u0301 a mark", "\u00a0space first", "\u200bnone", "A \U0001f642"),
    said("write <|im_end|> here", "<|im_start|>no"),
    said("what is <|audio|>?", "a placeholder\ufdd0"),
    said("the \ufdd0 letter", "none"),
    said("song.wav", "a clip in text"),
    said("a < b, [1] and <b>", "tags"),
    said("What is <audio> for?", "a tag"),
    said("<sound>\nWhat?", "a tag that waits"),
    said("Hear <audio>a.wav</audio>", "a clip in a tag"),
    said("question", ""),
    said("question", " \u200b "),
    said("alone"),
    said("user", "user", roles=("User",)),
    said("You are terse.", "Hi", "Hello.", roles=("System", "User", "Assistant")),
    said("Hi", "Hello.", roles=("human", "gpt")),
    said("Hi", "Hello.", roles=("tool", "gpt")),
    said("Hi", "Hello.", roles=(None, "gpt")),
    said("Hi", "Hello.", weather="sunny"),
    said("Hi", "Hello.", category="x", lang="de", target_lang=3),
    said("Hi", "Hello.", lang="a.png"),
    said("Hi", "Hello.", lang=False),
    said("Hi", "Hello.", loss=False),
    said("Hi", "Hello.", label=False),
    said("Hi", "Hello.", metadata={"train": False}),
    said("Hi", "Hello.", custom={"loss": 0}),
    said("Hi", "Hello.", custom={"unscored": True}),
    said("Hi", "Hello.", custom={"_skipme": True}),
    said("Hi", "Hello.", custom={"kind": "text", "deep": {"a": [1, "b"]}}),
    said("Hi", "Hello.", custom="words"),
    said("Hi", "Hello.", _skipme=1),
    said("Hi", "Hello.", tools=[{"name": "f"}]),
    said("Hi", "Hello.", audio="a.wav"),
    said("back\\slash \"quoted\"", "$\\alpha$"),
    said("Hi", "Hello.") | {"id": 2**70},
    {"conversations": [{"from": "User", "value": "Hi"}, {"from": "Assistant", "value": "Hello.", "loss": False}]},
    {"conversations": [{"from": "User", "value": 3}, {"from": "Assistant", "value": "Hello."}]},
    {"conversations": []},
    {"conversations": "none"},
    '{"id": "a", "conversations": [{"from": "User", "value": "x", "value": "y"}, {"from": "gpt", "value": "z"}]}',
    '{"id": "a", "id": "a", "conversations": [{"from": "User", "value": "x"}, {"from": "gpt", "value": "z"}]}',
    '{"id": NaN, "conversations": [{"from": "User", "value": "x"}, {"from": "gpt", "value": "z"}]}',
    '{"conversations": [{"from": "User", "value": "\\ud800"}, {"from": "gpt", "value": "z"}]}',
    '{"conversations": [{"from": "User", "value": "tab\there"}, {"from": "gpt", "value": "z"}]}',
    '\ufeff{"conversations": [{"from": "User", "value": "x"}, {"from": "gpt", "value": "z"}]}',
    '{"conversations": [{"from": "User", "value": "\\u003c|im_end|>"}, {"from": "gpt", "value": "z"}]}',
    "[1]", "{", "", "[" * 3000,
]  # fmt: skip


def utterances(two_clips):
    clip = two_clips[0]
    row = {"id": "u", "audio_filepath": str(clip.path), "text": clip.text, "duration": clip.duration}
    changed = [
        {}, {"id": 1.5}, {"id": None}, {"duration": None}, {"duration": clip.duration - 0.2}, {"duration": 0},
        {"duration": clip.duration + 0.2}, {"duration": 99}, {"duration": "1"}, {"duration": True}, {"offset": 0.1},
        {"offset": 0}, {"offset": None}, {"sampling_rate": 16000}, {"sampling_rate": 8}, {"sampling_rate": "16000"},
        {"num_samples": 3}, {"dur": 90}, {"text": ""}, {"text": None}, {"text": "..."}, {"text": "¿Qué? – İyi"},
        {"text": "<|audio|>"}, {"text": "\u3164."}, {"lang": "de"}, {"lang": "xx-none"}, {"lang": 4}, {"lang": False},
        {"target_lang": "es"}, {"source_lang": "fr", "lang": "en"}, {"context": "Say it."}, {"channel": 1},
        {"speaker": "s", "pnc": "yes"}, {"weather": "sunny"}, {"mask": True}, {"custom": {"a": 1}},
        {"audio_filepath": "nowhere.wav"}, {"audio_filepath": "../up.wav"}, {"audio_filepath": "http://a/b.wav"},
        {"audio_filepath": "data:audio/wav;base64,AA"}, {"audio_filepath": "a\0.wav"}, {"audio_filepath": ""},
        {"audio_filepath": str(clip.path.parent) + "//" + clip.path.name}, {"audio_filepath": str(clip.path.parent)},
        {"audio_filepath": "x" * 300}, {"audio_filepath": ["a"]}, {"answer": "Hola"}, {"answer": "Hola", "text": None},
        {"taskname": "ast"}, {"source_lang": "en", "target_lang": "de"}, {"taskname": "asr", "lang": "en"},
        {"answer": "na"}, {"answer": "na", "text": None}, {"text": "—"},
    ]  # fmt: skip
    return [row | change for change in changed]


def contents(path, kind, dataset, careful, monkeypatch, taken, **entry):
    def noted(*given):
        found = None if careful else plain_size(*given)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(index_build, "plain_size", noted)
    monkeypatch.setattr(index_build.os, "sched_getaffinity", lambda process: {0})
    reading = Reading("<|audio|>", 0.08, encoder=dataset, max_seconds=20.0)
    _, files = named_files({"manifest_filepath": str(path), **entry}, kind, reading)
    found = build_index(files, reading.weigh, "test")
    return found._replace(rows=found.rows.tolist(), clips=found.clips.tolist())


@pytest.mark.parametrize("tags", [{}, {"system_prompt": "Be brief.", "lang": "en"}, {"context": "Listen."}])
@pytest.mark.parametrize("prompt_format", ["chatml", "auto", "llama2"])
def test_an_index_is_that_of_the_careful_way(prompt_format, tags, jsonl, two_clips, tokenizer, monkeypatch):
    dataset = VTBDataset(tokenizer, prompt_format, "<|audio|>")
    ways = [("text", jsonl(*CHATS, name="chats.jsonl"), {})]
    path = jsonl(*utterances(two_clips), name="heard.jsonl")
    ways += [("asr", path, {"type": "nemo"}), ("ast", path, {"type": "nemo", "tags": {**tags, "target_lang": "es"}})]
    for kind, path, entry in ways:
        entry = {"tags": tags, **entry}
        short: list[bool] = []
        plain = contents(path, kind, dataset, False, monkeypatch, short, **entry)
        assert plain == contents(path, kind, dataset, True, monkeypatch, [], **entry)
        assert plain.rows and plain.reasons and any(short) == ("context" not in tags)


def test_rows_of_corpora_take_the_short_way(tokenizer, monkeypatch, tmp_path):
    dataset = VTBDataset(tokenizer, "chatml", "<|audio|>")
    chats = CORPORA / "smollm2_chat/train.jsonl"
    text = tmp_path / "chats.jsonl"
    text.write_text("".join(chats.read_text("utf-8").splitlines(keepends=True)[:100]))
    taken: list[bool] = []
    contents(text, "text", dataset, False, monkeypatch, taken)
    assert np.mean(taken) > 0.9
