"""What a config lists under ``held_out`` is what is asked."""

import pytest
from omegaconf import OmegaConf

from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.quickstart.measure import speech_results
from nemo_vtb.quickstart.tasks import held_out_tasks, held_out_text, text_suite

TRAIN = OmegaConf.create({"audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08})


def test_the_quickstart_asks_what_it_never_trains_on():
    cfg = compose("quickstart", [])
    tasks = held_out_tasks(cfg.held_out, cfg.data.train_ds)
    groups = {task.group for task in tasks}
    assert {
        "unseen word sequences",
        "new_voice",
        *(f"human:{code}" for code in ("en", "es", "fr", "it", "ru")),
    } < groups
    assert sum(task.kind == "sqa" for task in tasks) == 80
    splits = {task.conversation.custom.get("split", "test") for task in tasks}
    assert "train" not in splits
    assert len(held_out_text(cfg.held_out, cfg.data.train_ds)) >= 40
    assert len(text_suite(cfg.held_out)) == 60


@pytest.mark.parametrize(
    ("section", "message"),
    [({"asked": [], "questions": 3}, "held_out.questions"),
     ({"asked": [{"type": "nemo"}]}, "no kind"),
     ({"asked": [{"kind": "asr", "type": "nemo", "manifest_filepath": "absent.jsonl"}]}, "absent.jsonl")],
)  # fmt: skip
def test_a_section_that_cannot_be_asked_is_refused(section, message):
    with pytest.raises(VTBError, match=message):
        held_out_tasks(OmegaConf.create(section), TRAIN)


def test_a_config_without_the_section_is_refused(tmp_path):
    from nemo_vtb.quickstart.run import quickstart

    with pytest.raises(VTBError, match="held_out"):
        quickstart(str(tmp_path), [], "canary_gemma")


def test_the_first_recognition_group_is_the_word_error_rate(conversation):
    def task(group, answer):
        return Task("asr", conversation("c", ("user", "say"), ("assistant", answer)), group)

    tasks = [task("own", "one two"), task("human:en", "three four"), task("new_voice", "five six")]
    results = speech_results(tasks, ["x y", "x y", "x y"], ["one two", "three x", "five six"])
    assert (results["wer"]["before"], results["wer"]["after"], results["wer"]["n"]) == (1.0, 0.0, 1)
    assert results["wer"]["by_language"] == {"en": {"before": 1.0, "after": 0.5, "n": 1}}
    assert results["wer"]["new_voice"]["after"] == 0.0


def test_groups_of_questions_stand_apart(conversation):
    def task(group, answer):
        return Task("sqa", conversation("c", ("user", "say"), ("assistant", answer)), group)

    asr = Task("asr", conversation("c", ("user", "say"), ("assistant", "one")))
    tasks = [asr, task("", "one"), task("", "two"), task("open questions", "three")]
    found = speech_results(tasks, ["", "", "", "three"], ["one", "one", "x", "x"])["sqa"]
    assert found == {"before": 0, "after": 0.5, "n": 2, "open questions": {"before": 1, "after": 0, "n": 1}}
