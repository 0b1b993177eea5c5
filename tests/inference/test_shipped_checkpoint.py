"""The checkpoint in examples/checkpoint, with the real LLM and encoder it names."""

import json
import subprocess
import sys
from io import StringIO

import pytest

from nemo_vtb.cli import main
from nemo_vtb.inference.chat import ChatSession
from nemo_vtb.inference.export import CardInputs, export
from nemo_vtb.models.checkpoints.slim import WEIGHTS
from nemo_vtb.paths import SHIPPED, checkpoint_path, corpora_dir

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def session():
    return ChatSession.from_checkpoint(SHIPPED)


@pytest.fixture
def commands():
    """Clips in voices that training did not have."""
    folder = corpora_dir() / "spoken_commands"
    rows = map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    return [(folder / row["audio_filepath"], row["text"]) for row in rows if row["split"] == "test_new_voice"][:8]


def test_it_writes_what_voices_say_that_it_never_heard(session, commands):
    right = 0
    for clip, text in commands:
        session.reset()
        right += session.say(f"Transcribe the audio. @{clip}", max_new_tokens=24) == text
    assert right > len(commands) / 2


def test_it_answers_in_writing_as_the_untouched_llm(session):
    session.reset()
    told = session.say("What is the capital of France?", max_new_tokens=16)
    session.reset()
    with session.model.backbone.without_lora():
        assert told == session.say("What is the capital of France?", max_new_tokens=16)
    assert "Paris" in told


def test_vtb_chat_talks_with_it(commands, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", StringIO(f"Transcribe the audio. @{commands[0][0]}\n/quit\n"))
    assert main(["chat"]) == 0
    assert "vtb> " in capsys.readouterr().out


def test_its_export_answers_in_transformers_as_in_vtb_chat(session, commands, tmp_path):
    """Exported by the command and loaded in a process that knows nothing but the folder."""
    assert main(["export", SHIPPED, "--to", "hf", "--dtype", "float32", "--out", str(tmp_path / "hf")]) == 0
    clip = str(commands[0][0])
    program = f"""
import nemo_vtb.hf
from transformers import AutoModelForMultimodalLM, AutoProcessor

processor = AutoProcessor.from_pretrained("hf")
model = AutoModelForMultimodalLM.from_pretrained("hf", dtype="float32")
heard = [{{"type": "text", "text": "Transcribe the audio."}}, {{"type": "audio", "path": {clip!r}}}]
inputs = processor.apply_chat_template([[{{"role": "user", "content": heard}}]], tokenize=True)
answers = model.generate(**inputs, max_new_tokens=24)[:, inputs["input_ids"].shape[1] :]
print(processor.batch_decode(answers, skip_special_tokens=True)[0])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    session.reset()
    told = session.say(f"Transcribe the audio. @{clip}", max_new_tokens=24)
    assert ran.stdout.strip().splitlines()[-1].strip() == told.strip()


def test_card_and_weights_are_what_vtb_export_writes(tmp_path):
    folder = checkpoint_path(SHIPPED)
    measured = corpora_dir().parent / "benchmarks" / "results" / "checkpoint_eval.json"
    export(SHIPPED, "slim", tmp_path, "bfloat16", CardInputs(str(measured)))
    for name in ("README.md", "config.json", WEIGHTS):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    assert (folder / WEIGHTS).stat().st_size < 60e6


def test_the_example_in_the_docstring_runs(session, monkeypatch):
    import doctest

    from nemo_vtb.inference import chat

    # The same checkpoint, loaded once.
    monkeypatch.setattr(chat.ChatSession, "from_checkpoint", lambda path: ChatSession(session.model))
    monkeypatch.chdir(corpora_dir().parents[1])
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(chat.ChatSession, "ChatSession", globs={})
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0
