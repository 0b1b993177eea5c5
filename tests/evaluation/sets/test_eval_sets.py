"""The shipped evaluations: what they ask is there, and their reference answers pass their own checks."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nemo_vtb.config import compose
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.evaluation.sets.instructions import follows
from nemo_vtb.evaluation.sets.plan import check_of, ids_of, read_plan


@pytest.fixture(scope="module")
def plan():
    cfg = compose("eval/quickstart", [])
    return read_plan(OmegaConf.to_container(cfg.eval, resolve=True), Reading("<|audio|>", 0.08))


def test_reference_answers_pass_their_own_checks(plan):
    failed = [
        (part.name, task.conversation.id, task.reference)
        for part in plan.questions
        if part.kind == "mixed"
        for task in part.tasks
        if not follows(task.reference, check_of(task))
    ]
    assert failed == []


def test_references_of_scripts_pass_and_depend_on_more_than_one_turn(plan):
    (talks,) = plan.scripts
    assert len(talks.scripts) >= 24
    for script in talks.scripts:
        said = [script.conversation.turns[place].value for place in script.answers]
        assert False not in script.right(said), script.conversation.id
        assert len(said) >= 2 and script.checks[-1] is not None
        assert script.conversation.list_cuts()


def test_commands_are_asked_in_voices_that_no_training_data_has(plan):
    told = [task for part in plan.questions for task in part.tasks]
    told += [script for talks in plan.scripts for script in talks.scripts]
    clips = {cut.recording.sources[0].source for one in told for cut in one.conversation.list_cuts()}
    voices = {Path(clip).stem.partition("_")[2] for clip in clips if "spoken_commands" in clip}
    assert voices == {"af_bella", "am_michael", "bf_emma", "bm_george"}


def test_spoken_prompts_come_in_all_three_forms(plan):
    forms = {part.form: part for part in plan.questions if part.name == "asked_each_way"}
    assert set(forms) == {"text", "speech", "half"}
    assert ids_of(forms["text"]) == ids_of(forms["speech"]) == ids_of(forms["half"])
    assert all(not task.conversation.list_cuts() for task in forms["text"].tasks)
    assert {len(task.conversation.list_cuts()) for task in forms["speech"].tasks} == {2}
    assert {len(task.conversation.list_cuts()) for task in forms["half"].tasks} == {1}


def test_probes_and_suites_are_there(plan):
    probes = {part.name for part in plan.questions if part.probe}
    assert probes >= {
        "unseen_wording",
        "unseen_direction",
        "biasing_with_list",
        "output_formats",
        "two_clips",
        "two_speakers",
    }
    suites = {part.name for part in plan.questions if part.kind == "text"} | set(plan.chats)
    assert suites == {"short", "instructions", "arithmetic", "chat"}


def test_unseen_wordings_are_in_no_other_pool():
    from nemo_vtb.paths import config_dir

    pools = {path.stem: OmegaConf.load(path) for path in (config_dir() / "prompts").glob("*.yaml")}
    unseen = set(pools.pop("unseen").asr.any)
    for pool in pools.values():
        if "asr" in pool:
            assert not unseen & {w if isinstance(w, str) else w.say for group in pool.asr.values() for w in group}


def test_the_reference_evaluation_composes():
    cfg = compose("eval/reference", ["eval.sets.people_en.at_most=2"])
    assert cfg.eval.sets.people_en.prompts == "default" and "people_to_english_fr" in cfg.eval.sets
