"""One prompt, written, spoken, and half and half."""

import pytest
from lhotse.utils import fastcopy

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.sets.mixed_forms import prompt_forms


def _transcribed(made, *texts):
    said = iter(texts)
    turns = [fastcopy(turn, text=next(said)) if hasattr(turn, "cut") else turn for turn in made.turns]
    return fastcopy(made, turns=turns)


def _shown(made):
    return ["♪" if hasattr(turn, "cut") else turn.value for turn in made.turns]


def test_a_spoken_prompt_is_written_clip_by_clip(conversation, clips):
    turns = [("user", clip.path) for clip in clips[:3]]
    forms = prompt_forms(_transcribed(conversation("p", *turns, ("assistant", "yes")), "one", "two", "three"))
    assert {name: _shown(form) for name, form in forms.items()} == {
        "text": ["one", "two", "three", "yes"],
        "speech": ["♪", "♪", "♪", "yes"],
        "half": ["one", "♪", "three", "yes"],
    }


def test_written_words_make_a_prompt_half_spoken_already(conversation, clip):
    forms = prompt_forms(
        _transcribed(conversation("p", ("user", "Say"), ("user", clip.path), ("assistant", "y")), "one")
    )
    assert {name: _shown(form) for name, form in forms.items()} == {
        "text": ["Say", "one", "y"],
        "half": ["Say", "♪", "y"],
    }


def test_a_single_clip_has_no_half(conversation, clip):
    made = _transcribed(conversation("p", ("user", clip.path), ("assistant", "y")), "one")
    assert set(prompt_forms(made)) == {"text", "speech"}


def test_what_cannot_be_written_is_named(conversation, clip):
    with pytest.raises(VTBError, match="silent: a clip without its transcript"):
        prompt_forms(conversation("silent", ("user", clip.path), ("assistant", "y")))
    with pytest.raises(VTBError, match="written: a mixed prompt needs a clip"):
        prompt_forms(conversation("written", ("user", "Hello"), ("assistant", "y")))
