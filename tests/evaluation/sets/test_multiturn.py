"""Scripted conversations: the model's own answers stand in what it reads next."""

import pytest
import torch

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task, answer_tasks
from nemo_vtb.evaluation.sets.multiturn import run_scripts, script


@pytest.fixture
def talk(conversation, clips):
    def make(name, checks, turns=2):
        said = [("user", clips[0].path), ("user", "What?"), ("assistant", "reference"), ("user", "And now?"),
                ("assistant", "another")][: 3 if turns == 1 else 5]  # fmt: skip
        made = conversation(name, *said)
        made.custom["checks"] = checks
        return Task("multiturn", made, "talks")

    return make


def test_answers_stay_in_the_conversation_and_references_do_not(talk):
    scripts = [
        script(talk("long", [{"type": "exact", "answer": "one"}, None])),
        script(talk("short", [None, {"type": "no_comma"}])),
    ]
    seen = []

    def answer(tasks):
        seen.append([[turn.value for turn in task.conversation.turns if not hasattr(turn, "cut")] for task in tasks])
        return [f"answer {len(seen)} of {task.conversation.id}" for task in tasks]

    said = run_scripts(scripts, answer)
    assert said == [["answer 1 of long", "answer 2 of long"], ["answer 1 of short", "answer 2 of short"]]
    assert seen[0][0] == ["What?", "reference"]  # the last turn is the one to be answered, and is not read
    assert seen[1][0] == ["What?", "answer 1 of long", "And now?", "another"]


def test_scripts_of_unequal_length_go_together(talk):
    short = talk("short", [{"type": "words", "at_least": 1}], turns=1)
    said = run_scripts(
        [script(talk("long", [None, {"type": "words", "at_least": 1}])), script(short)], lambda t: ["x"] * len(t)
    )
    assert [len(answers) for answers in said] == [2, 1]
    assert script(short).right(said[1]) == [True]


def test_a_tiny_model_answers_each_turn_as_in_a_chat(talk, slim_cfg, clips):
    """The same words as ``ChatSession`` says, which keeps its own answers too."""
    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.inference.chat import ChatSession

    torch.manual_seed(1)
    model = VoiceTextBlender(slim_cfg()).eval()
    dataset = VTBDataset(model.tokenizer, "chatml", model.audio_locator_tag)
    made = script(talk("talk", [None, {"type": "words", "at_least": 0}]))
    (said,) = run_scripts([made], lambda tasks: answer_tasks(model, dataset, tasks, 5))
    session = ChatSession(model)
    assert said == [session.say(f"@{clips[0].path} What?", 5), session.say("And now?", 5)]
    assert made.right(said) == [None, True]


@pytest.mark.parametrize(
    ("checks", "message"),
    [(None, "talk: custom.checks must list"), ([None, None], "must list"),
     ([{"type": "exact", "answer": "a"}], "1 checks for 2"),
     ([{"type": "exact"}, None], r"talk: custom.checks\[0\]: .*lacks its key 'answer'"),
     ([{"type": "no_comma"}, {}], r"talk: custom.checks\[1\]: the check \{\} is no mapping with a type")],
)  # fmt: skip
def test_scripts_that_cannot_be_checked_are_named(talk, checks, message):
    with pytest.raises(VTBError, match=message):
        script(talk("talk", checks))
