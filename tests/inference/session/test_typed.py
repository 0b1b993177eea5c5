"""What a typed line names, and how an answer's text comes out of its tokens."""

import random
from pathlib import Path

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.session.typed import bare_recording, typed_parts
from nemo_vtb.inference.session.words import Words


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.wav", "b.m4a", "my clip.webm", "noending", "what?.wav"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("Hello.", ["Hello."]),
        ("@a.wav", [Path("a.wav")]),
        ("What is in (@a.wav), please?", ["What is in (", Path("a.wav"), "), please?"]),
        ("Hear this:@b.m4a!", ["Hear this:", Path("b.m4a"), "!"]),
        ("@a.wav and @b.m4a", [Path("a.wav"), " and ", Path("b.m4a")]),
        ('"@a.wav"', ['"', Path("a.wav"), '"']),
        ('Hear @"my clip.webm" now', ["Hear ", Path("my clip.webm"), " now"]),
        ("Hear @'my clip.webm'.", ["Hear ", Path("my clip.webm"), "."]),
        (r"Hear @my\ clip.webm now", ["Hear ", Path("my clip.webm"), " now"]),
        ("Hear @my clip.webm now", ["Hear ", Path("my clip.webm"), " now"]),
        ("@what?.wav", [Path("what?.wav")]),
        ("@noending.", [Path("noending"), "."]),
        ("write to me@home.org", ["write to me@home.org"]),
        ("@ home, @ last", ["@ home, @ last"]),
        ("@someone said so", ["@someone said so"]),
        ("", []),
    ],
)
def test_recordings_are_found_where_a_line_names_them(folder, line, parts):
    assert typed_parts(line) == parts


def test_the_home_and_whole_paths(folder):
    assert typed_parts("@~/a.wav") == [folder / "a.wav"] == typed_parts(f"@{folder}/a.wav")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("@gone.wav", "gone.wav"),
        ("Listen: @gone.M4A, please", "gone.M4A"),
        ('@"gone"', "gone"),
        ("@~/gone", "~/gone"),
        ("@./gone", "./gone"),
        ("@not here.webm now", "not here.webm"),
        ("@~nobody-of-this-name/x.wav", "~nobody-of-this-name/x.wav"),
    ],
)
def test_a_recording_that_is_not_there_is_named(folder, line, name):
    with pytest.raises(VTBError, match=f"no recording at {name}"):
        typed_parts(line)


def test_a_bare_name_of_a_recording_is_noticed(folder):
    assert bare_recording("a.wav") == "a.wav" == bare_recording("what is in a.wav?")
    assert bare_recording("my clip.webm") == "my clip.webm" == bare_recording("hear 'my clip.webm' now")
    assert bare_recording("~/a.wav") == "~/a.wav"
    assert bare_recording("no.wav @a.wav noending") is None


TEXT = "Ünïcödé, 東京 und 🙂🙃\n\n  code:\n\tx = 1  # done. END of it STOP here"


def test_pieces_are_whole_letters_and_joined_are_the_text(tokenizer):
    ids = tokenizer.text_to_ids(f" \n{TEXT} \n ")
    words = Words(tokenizer)
    pieces = [words.add(token) for token in ids] + [words.end()]
    assert "".join(pieces) == words.text == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    half = Words(tokenizer)
    half.add(tokenizer.text_to_ids("🙂")[0])
    assert half.text == "" and half.end() == "\ufffd"


def test_a_stop_text_is_met_wherever_tokens_end(tokenizer):
    drawn = random.Random(0)
    for stops in (["END"], ["done. END", "STOP"], ["\n\n"], ["it STOP"], ["never"], ["東京", "x ="]):
        words = Words(tokenizer, stops)
        given = ""
        for token in tokenizer.text_to_ids(TEXT):
            given += words.add(token)
            if words.stopped:
                break
        given += words.end()
        places = [TEXT.find(stop) for stop in stops if stop in TEXT]
        assert given == words.text == TEXT[: min(places, default=None)].rstrip()
    for _ in range(50):
        start = drawn.randrange(len(TEXT) - 4)
        stop = TEXT[start : start + drawn.randint(1, 4)]
        words = Words(tokenizer, [stop])
        given = "".join(words.add(token) for token in tokenizer.text_to_ids(TEXT)) + words.end()
        assert given == TEXT[: TEXT.find(stop)].rstrip()
