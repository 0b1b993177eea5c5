"""``vtb synth reply`` with a real LLM behind a server, and its rows in training."""

import json
from pathlib import Path
from typing import Any

import pytest
from llama_server import MODEL, LlamaServer

from nemo_vtb.cli import main
from nemo_vtb.config import compose
from nemo_vtb.data.sources.source import Reading, open_source
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.interface import Reply
from nemo_vtb.synthesis.reply.maker import ReplyMaker
from nemo_vtb.synthesis.reply.options import OwnReplyOptions
from nemo_vtb.synthesis.reply.run import job_of
from nemo_vtb.whole_files import read_rows

READING = Reading("<|audio|>", 0.08)
# What the small LLM answers in a few words, whatever is drawn.
QUESTIONS = ["What is the capital of France?", "What is two plus two?", "Who wrote Hamlet?", "Is the sky blue?"]


@pytest.fixture
def manifest(tmp_path: Path, clips: Any) -> Path:
    rows = [
        {"id": f"c{n}", "audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en"}
        for n, clip in enumerate(clips)
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(out: Path, manifest: Path, llm: Path, *more: str) -> list[str]:
    own = ["llm.backend=hf", f"llm.model={llm}", "reply.tokens=4096", "recording.words=[1,400]", "shard_size=2"]
    source = [f"source.manifest_filepath={manifest}", "recording.seconds=[0.1,30]"]
    return ["synth", "reply", f"out={out}", *source, *own, *more]


def test_the_reply_to_the_words_becomes_the_answer_to_the_recording(
    tmp_path: Path, manifest: Path, llama: LlamaServer, clips: Any
):
    out = tmp_path / "out"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    asked = [{**row, "text": question} for row, question in zip(rows, QUESTIONS, strict=True)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in asked))
    served = ["llm.backend=openai", f"llm.base_url={llama.url}", "llm.concurrency=1", "reply.tokens=200", "seed=1"]
    assert main(command(out, manifest, Path(MODEL), *served)) == 0
    rows, drops = read_rows(out / "conversations.jsonl"), read_rows(out / "drops.jsonl")
    assert len(rows) + len(drops) == len(clips) and rows
    for row in rows:
        heard, answer = row["conversations"]
        assert heard["type"] == "audio" and heard["text"] in QUESTIONS
        assert answer["from"] == "Assistant" and answer["value"]
        assert row["custom"]["kind"] == "continue"
    entry = {"type": "multimodal_conversation", "manifest_filepath": str(out / "conversations.jsonl")}
    source = open_source(entry, "continue", READING)
    assert [turn.role for turn in source.draw(0, 0).turns] == ["user", "assistant"]


class Parrot:
    """An LLM that says what it read."""

    name = "parrot"

    def chat(self, conversations: Any, sampling: Any) -> list[Reply]:
        return [Reply(turns[-1]["content"], 1, True) for turns in conversations]


def test_the_llm_reads_what_training_reads(tmp_path, manifest):
    """The words in the clip's place, on the same side of the instruction, the system prompt before them."""
    overrides = ["instructions=[Answer briefly.]", "system=Be kind.", "recording.words=[1,400]"]
    overrides += [
        f"out={tmp_path}",
        f"source.manifest_filepath={manifest}",
        "recording.seconds=[0.1,30]",
        "llm.model=x",
    ]
    cfg = compose("synth/reply", overrides)
    job = job_of(cfg)
    made: list[dict[str, Any]] = []

    class Kept:
        def add(self, row: dict[str, Any]) -> None:
            made.append(row)

        def observe(self, *args: Any) -> None: ...

        def count(self, *args: Any, **more: Any) -> None: ...

        def drop(self, *args: Any, **more: Any) -> None:
            raise AssertionError(args)

    for seed in range(4):
        ReplyMaker(Parrot(), OwnReplyOptions.read(cfg), seed, str(tmp_path))(job.items, Kept())
    orders = set()
    for row in made:
        system, *user, answer = row["conversations"]
        assert system == {"from": "System", "type": "text", "value": "Be kind."}
        words = [turn.get("text") or turn["value"] for turn in user]
        assert answer["value"] == " ".join(words)
        orders.add(user[0]["type"])
    assert orders == {"audio", "text"}, "the order is drawn"


def test_a_manifest_with_replies_is_of_kind_continue(tmp_path, manifest):
    rows = [{**json.loads(line), "answer": "Gladly."} for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = open_source({"type": "nemo", "manifest_filepath": str(manifest)}, "continue", READING)
    heard, answer = source.draw(0, 0).turns
    assert hasattr(heard, "cut") and answer.value == "Gladly."


def test_the_order_of_clip_and_instruction_is_drawn(manifest):
    def firsts(**more: Any) -> list[bool]:
        source = open_source({"type": "nemo", "manifest_filepath": str(manifest), **more}, "asr", READING)
        return [hasattr(source.draw(n, epoch).turns[0], "cut") for n in range(4) for epoch in range(8)]

    assert not any(firsts()) and not any(firsts(audio_first=0.0)) and all(firsts(audio_first=1.0))
    drawn = firsts(audio_first=0.5)
    assert 4 < sum(drawn) < 28 and drawn == firsts(audio_first=0.5)
    with pytest.raises(VTBError, match="audio_first is 2"):
        firsts(audio_first=2)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("reply_words=[3,1]", "reply_words=[3, 1]"),
        ("reply.top_p=0", "reply.top_p is 0; it is"),
        ("+answers=1", "answers"),
    ],
)
def test_what_cannot_be_made_is_said(tmp_path, manifest, tiny_llm, capsys, override, said):
    assert main(command(tmp_path / "out", manifest, tiny_llm, override)) == 2
    assert said in capsys.readouterr().err
