"""The sets of the long study: enough of them, each answerable, and nothing of them in training."""

import json
from pathlib import Path

import numpy as np
import soundfile
from omegaconf import OmegaConf

from nemo_vtb.config import compose
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.evaluation.sets.choices import choice_rows
from nemo_vtb.evaluation.sets.instructions import follows, phrase_place
from nemo_vtb.evaluation.sets.plan import read_plan
from nemo_vtb.evaluation.sets.usable_checks import check_usable
from nemo_vtb.paths import corpora_dir


def test_own_questions_can_be_asked_and_have_one_right_option_each(script, tmp_path: Path):
    facts, problems = script("asked.facts"), script("asked.word_problems")
    rows = [*facts.facts(), *problems.sums(200), *problems.word_problems(150)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = choice_rows(str(path))
    assert len(asked) == len(rows) > 600
    assert list(facts.facts()) == list(facts.facts()), "deterministic"
    for row in problems.sums(200):
        kind, said = row["id"].split("/")[1], row["options"][row["answer"]]
        numbers = [int(word) for word in row["prompt"].rstrip("?").split() if word.isdigit()]
        right = {
            "plus": lambda a, b: a + b,
            "minus": lambda a, b: a - b,
            "times": lambda a, b: a * b,
            "after": lambda a: a + 1,
            "before": lambda a: a - 1,
            "half": lambda a: a // 2,
        }[kind](*numbers)
        assert said == f"The answer is {right}."


def test_every_check_of_the_conversations_is_passed_by_its_reference_and_by_no_silence(script):
    made = list(script("asked.mixed_conversations").conversations())
    assert len(made) >= 400 and len({name for name, *_ in made}) == len(made)
    later = 0
    for name, turns, spoken in made:
        assert any(spoken) and not all(spoken), name
        for number, (_, answer, check) in enumerate(turns):
            if check is not None:
                check_usable(check, name)
                assert follows(answer, check) and not follows("", check), (name, number)
                later += number > 0
    assert later >= 1000


def test_later_turns_cannot_be_answered_from_themselves(script):
    """A question about a later turn holds its answer only where it offers a choice."""
    for name, turns, _ in script("asked.mixed_conversations").conversations():
        for number, (said, answer, check) in enumerate(turns[1:], start=1):
            if (
                check is not None
                and " or " not in said
                and name.split("/")[0] not in ("remember", "taste", "correction")
            ):
                assert phrase_place(said, answer) < 0, (name, number)


def test_spoken_instructions_are_300_whose_checks_can_be_applied_and_no_training_demands(script):
    made = list(script("asked.spoken_prompts").spoken_prompts())
    assert len(made) == len({name for name, *_ in made}) == 300
    for name, _, _, check in made:
        check_usable(check, name)
    demands = {demand for _, _, demand, _ in made}
    known = {text for text in script("build_study_train").DEMANDS if text}
    chats = (corpora_dir() / "spoken_commands" / "chats.jsonl").read_text(encoding="utf-8")
    assert not demands & known and not [demand for demand in demands if demand in chats]


def test_published_rows_become_questions(script, tmp_path: Path):
    battery = script("build_text_battery")
    social = "Bailey was nice. What will happen to Others? A: talk to the family; B: hate bailey; C: thank bailey."
    science = "Eric adds more resistors. The resistance\n\n A: increases\n B: decreases"
    mmlu = "Which is a fruit?\n\nA. Apple\nB. Dog\nC. Stone\nD. Car\nAnswer:"
    words = "Here is a list of the related words: [leave, grant]. Here is a list of your options: [board, allow]. What?"
    rows = {
        "socialiqa": {"input": [{"role": "user", "content": social}], "ideal": "C"},
        "quartz": {"input": [{"role": "system", "content": "s"}, {"role": "user", "content": science}], "ideal": "A"},
        "mmlu": {"question": mmlu, "answer": "A"},
        "related_words_2": {"input": [{"role": "user", "content": words}], "ideal": "[allow]"},
    }
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    (one,) = battery._social(tmp_path / "socialiqa.jsonl")
    assert one["options"][one["answer"]] == "thank bailey" and one["prompt"].endswith("happen to Others?")
    (one,) = battery._science(tmp_path / "quartz.jsonl")
    assert (one["prompt"], one["options"], one["answer"]) == (
        "Eric adds more resistors. The resistance", ["increases", "decreases"], 0)  # fmt: skip
    (one,) = battery._knowledge(tmp_path / "mmlu.jsonl")
    assert one["options"] == ["Apple", "Dog", "Stone", "Car"] and one["answer"] == 0
    (one,) = battery._words(tmp_path)
    assert one["options"][one["answer"]] == "allow" and "leave, grant" in one["prompt"]


def test_the_long_study_reads_the_instructions_as_they_are_made(script, tmp_path):
    """Their answers are checked and not given: what ``conf/study/measure_long.yaml`` says must allow that."""
    made = script("build_spoken_sets")
    row = made._instructions()[0]
    for turn in made._spoken(row):
        turn.pop("voice")
        soundfile.write(tmp_path / Path(turn["value"]).name, np.full(16_000, 0.1, np.float32), 16_000)
        turn["value"] = Path(turn["value"]).name
    (tmp_path / "instructions.jsonl").write_text(json.dumps(row) + "\n")
    asked = compose("study/smollm2", []).measure.eval.sets.instructions
    entry = {**OmegaConf.to_container(asked), "manifest_filepath": str(tmp_path / "instructions.jsonl")}
    plan = read_plan({"sets": {"instructions": entry}, "max_new_tokens": 8}, Reading("<|audio|>", 0.08))
    assert sorted(part.form for part in plan.questions) == ["half", "speech", "text"]
