"""``vtb chat`` as it is typed: commands, recordings, a Ctrl-C in the middle of an answer."""

import json
import os
import shutil
import signal
from io import BytesIO, StringIO, TextIOWrapper

import pytest

from nemo_vtb.cli import main
from nemo_vtb.cli.talk.console import Console
from nemo_vtb.inference.chat import ChatSession


@pytest.fixture
def talk(gated, monkeypatch, tmp_path, clips):
    """Types lines and returns what is written for each of them."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(clips[0].path, tmp_path / "a clip.ogg")
    session = ChatSession(gated)

    def typed(*lines, during=lambda text: None):
        written = [[]]
        waiting = iter(lines)

        def read(prompt):
            written.append([])
            line = next(waiting, None)
            if line is None:
                raise EOFError
            if isinstance(line, type):
                raise line
            return line

        def write(text):
            written[-1].append(text)
            during(text)

        Console(session, typed.options, read, write).run()
        return ["".join(pieces) for pieces in written[1 : len(lines) + 1]]

    typed.session, typed.options = session, {"max_new_tokens": 6}
    return typed


def test_an_empty_answer_is_said_to_be_so(talk):
    begins = talk.session.say('@"a clip.ogg"', max_new_tokens=1)
    talk.session.reset()
    talk.options["stop"] = begins[0]
    said = talk('@"a clip.ogg"', "/undo", "Hello.")
    assert "note: the model answered nothing, after 1 s of sound and " in said[0]
    assert talk.session.answer.text or "note: the model answered nothing\n" in said[2]


def test_commands_do_what_they_say(talk):
    said = talk(
        *("Hello.", "/show", "/undo", "/undo", "/system Be brief.", '@"a clip.ogg" What?', "/retry", "/save talk.json"),
        *("/reset", "/load talk.json", "/system", "/nope", "/save", "/audio x", "/help", "", KeyboardInterrupt),
        *("a clip.ogg", "what is in @gone.wav", "/etc/hostname is a file", "/quit"),
    )
    assert said[0].startswith("vtb> ") and "first token after" in said[0] and "cut off at --max-tokens" in said[0]
    assert said[1].startswith("<|im_start|>user\nHello.<|im_end|>") and "the untouched LLM answers" in said[1]
    assert said[2:4] == ["taken back\n", "there is nothing to take back\n"] and said[4] == "system: Be brief.\n"
    assert "s of sound" in said[5] and said[5].splitlines()[0] == said[6].splitlines()[0]
    assert said[7:10] == ["saved: 1 messages, talk.json\n", "forgotten\n", "loaded: 1 messages, talk.json\n"]
    assert said[10] == "system: Be brief.\n" and said[11].startswith("vtb: there is no command /nope: /help, ")
    assert "name a file" in said[12] and "no number of seconds" in said[13] and "/retry" in said[14] and said[15] == ""
    assert "/quit or Ctrl-D leaves" in said[16]
    assert said[17] == 'vtb: a clip.ogg is a recording: write @"a clip.ogg" to have it heard\n'
    assert said[18] == "vtb: no recording at gone.wav\n" and said[19].startswith("vtb> ") and said[20] == ""


def test_ctrl_c_stops_the_answer_and_not_the_program(talk):
    pressed = []

    def press(text):
        if not pressed and text not in ("vtb> ", "\n"):
            pressed.append(text)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    talk("/reset")
    stopped, after = talk(
        "Tell me more.", "Are you there?", during=lambda text: press(text) if "Type" not in text else None
    )
    assert pressed and "stopped)" in stopped and "stopped" not in after and after.startswith("vtb> ")
    assert signal.getsignal(signal.SIGINT) is before and len(talk.session.turns) == 4


def test_a_microphone_that_is_not_there_is_said(talk, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    assert talk("/audio 1")[0].startswith("vtb: /audio needs sounddevice and PortAudio: pip install sounddevice")


def test_what_is_silent_is_said_before_the_answer(talk, tmp_path):
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "still.wav", np.zeros(8000), 16_000)
    soundfile.write(tmp_path / "tick.wav", np.ones(160) / 2, 16_000)
    still, tick = talk("@still.wav", "@tick.wav")
    assert still.startswith("note: still.wav is silent: whatever is said of it is made up\nvtb> ")
    assert tick.startswith("note: tick.wav is 10 ms long: too short to hold a word\nvtb> ")


def test_the_command_streams_and_refuses_what_cannot_be(trained, clips, monkeypatch, capsys):
    lines = f"Hello.\nTranscribe the audio. @{clips[0].path}\n/quit\n"
    monkeypatch.setattr("sys.stdin", StringIO(lines))
    command = [
        "chat",
        str(trained[1]),
        "--threads=1",
        "--max-tokens=3",
        "--temperature=0.5",
        "--seed=1",
        "--system=Hi.",
    ]
    assert main(command) == 0
    assert capsys.readouterr().out.count("vtb> ") == 2
    assert main(["chat", str(trained[1]), "--top-p=3"]) == 2
    assert "top_p is 3" in capsys.readouterr().err
    for device in ("meta", "xla", "vulkan:0", "nothing"):
        assert main(["chat", str(trained[1]), f"--device={device}"]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"vtb: device is '{device}'") and said.count("\n") == 1
    assert main(["chat", "gone.ckpt"]) == 2
    assert capsys.readouterr().err == "vtb: no checkpoint at gone.ckpt\n"


def test_a_typed_byte_that_is_no_text_is_refused_and_the_next_line_is_answered(trained, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"Hello \xff there\nHello.\n/quit\n"), encoding="utf-8"))
    assert main(["chat", str(trained[1]), "--threads=1", "--max-tokens=2", "--temperature=1e-40"]) == 0
    out = capsys.readouterr().out
    assert "vtb: the message: half a surrogate pair, or a byte that is not UTF-8, at character 6" in out
    assert out.count("vtb> ") == 1


def test_a_file_that_cannot_be_used_is_a_line_and_the_conversation_goes_on(talk, tmp_path):
    files = {"words": ["a"], "null": None, "number": 3, "parts": [{"role": "user", "content": [None]}], "empty": []}
    for name, messages in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"messages": messages}))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    lines = ["Hello.", *(f"/load {name}.json" for name in (*files, "deep", "gone")), "/load ~nobodyhere/x.json"]
    lines += ["/save ~nobodyhere/x.json", "/save gone/x.json", "/save a\0b"]
    said = talk(*lines, "/undo")
    assert all(text.startswith("vtb: ") and text.count("\n") == 1 for text in said[1:-1]), said
    assert said[-1] == "taken back\n"
