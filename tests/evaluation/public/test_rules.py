"""Rules of public benchmarks: hand-computed marks, and the packages that carry the rules as references."""

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.public.choices import letter_of, refuses
from nemo_vtb.evaluation.public.rules import RULES, sums_of


def score(rule: str, rows, answers):
    sums, unmatched = sums_of(RULES[rule], rows, answers)
    return float(sums.value), unmatched


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(C) heat", "C"),
        ("The correct answer is **D**.", "D"),
        ("I would choose option A because ears hear.", "A"),
        ("The answer is: B) sound", "B"),
        ("It is A at first sight, but the answer is C.", "C"),
        ("Ears hear sound.", "B"),
        ("答案是B。", "B"),
        ("应该选Ａ还是D？答案：（C）", "C"),
        ("B。因为耳朵听见声音", "B"),
        ("The answer is a matter of taste.", None),
        ("light or sound", None),
        ("I do not know", None),
        ("", None),
    ],
)
def test_a_letter_is_read_or_it_is_not(reply: str, letter: str | None):
    assert letter_of(reply, {"A": "light", "B": "sound", "C": "heat", "D": "dust"}) == letter


def test_what_names_no_letter_is_wrong_and_counted_apart():
    rows = [{"reference": "B", "options": {}}] * 4
    assert score("letter", rows, ["B", "The answer is A.", "hmm", "(B)"]) == (0.5, 1)


@pytest.mark.parametrize("reference", ["B", "(B)", "b", "B. sound", "Sound.", "**B**"])
def test_a_reference_names_its_letter_in_many_ways(reference: str):
    row = {"reference": reference, "options": {"A": "light", "B": "sound"}}
    assert score("letter", [row] * 2, ["B", "A"]) == (0.5, 0)


def test_a_reference_may_say_its_number_in_a_sentence():
    for reference in ("18", "$18", "She makes 18.", "3 * 6 = 18"):
        assert score("number", [{"reference": reference}] * 2, ["So it is 18.", "3"]) == (0.5, 0)


def test_yes_and_no_and_numbers_are_the_last_ones_named():
    rows = [{"reference": "Yes", "options": ["yes", "no"]}] * 3
    assert score("named_last", rows, ["No, wait: yes", "no", "perhaps"]) == (pytest.approx(1 / 3), 1)
    valid = [{"reference": "invalid", "options": ["valid", "invalid"]}] * 2
    assert score("named_last", valid, ["It is invalid.", "valid"]) == (0.5, 0)
    assert score("number", [{"reference": "1,234"}] * 3, ["3 and 1,234.", "1 234", "many"]) == (pytest.approx(1 / 3), 1)


def test_words_of_the_right_choice_and_of_no_other():
    row = {"reference": "two men", "choices": ["one man", "two men"]}
    answers = ["Two men speak.", "two men, not one", "men", ""]
    assert score("choice_words", [row] * 4, answers) == (0.25, 0)


def test_an_empty_answer_is_no_refusal():
    said = ["I'm sorry, but I can't help with that.", "Take the key at night.", "I cannot assist.", ""]
    assert [refuses(reply) for reply in said] == [True, False, True, False]
    assert score("refuses", [{}] * 4, said) == (0.5, 1)


def test_an_alias_stands_in_the_answer_as_a_word():
    row = {"answers": ["The Rome", "Roma"]}
    assert score("alias", [row] * 3, ["It is in Rome.", "Romania", "roma!"]) == (pytest.approx(2 / 3), 0)


def test_squad_as_the_reference_implementation_has_it():
    evaluate = pytest.importorskip("torchmetrics.text")
    answers = ["the pilot", "a pilot and his crew", "nobody"]
    right = [["the pilot"], ["the pilot", "the crew"], ["the pilot"]]
    reference = evaluate.SQuAD()
    for number, (said, wanted) in enumerate(zip(answers, right, strict=True)):
        known = {"answers": {"text": wanted, "answer_start": [0] * len(wanted)}, "id": str(number)}
        reference.update([{"prediction_text": said, "id": str(number)}], [known])
    found = reference.compute()
    rows = [{"answers": wanted} for wanted in right]
    assert 100 * score("squad_f1", rows, answers)[0] == pytest.approx(float(found["f1"]), abs=1e-4)
    assert 100 * score("squad_em", rows, answers)[0] == pytest.approx(float(found["exact_match"]), abs=1e-4)


def test_ifeval_is_the_mean_of_four_rates_and_agrees_with_lm_eval():
    pytest.importorskip("langdetect")
    pytest.importorskip("immutabledict")
    from lm_eval.tasks.ifeval import utils

    row = {
        "prompt": "Say it.",
        "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
        "kwargs": [{"keywords": None}, {"keywords": ["sun"]}],
    }
    one = {"prompt": "Again.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    answers = ["Well, hello,\nthe sun shines", "no comma here"]
    # Strict: the first has commas; loose: without its first line it has none and still its word.
    by_hand = (1 / 2 + 2 / 2 + 2 / 3 + 3 / 3) / 4
    assert score("ifeval", [row, one], answers) == (pytest.approx(by_hand), 0)
    for example, answer in zip((row, one), answers, strict=True):
        known = utils.InputExample(
            0, example["instruction_id_list"], example["prompt"], [dict(k) for k in example["kwargs"]]
        )
        strict = utils.test_instruction_following_strict(known, answer)
        loose = utils.test_instruction_following_loose(known, answer)
        marks = RULES["ifeval"].mark(answer, example)
        assert marks[:2] == (float(strict.follow_all_instructions), float(loose.follow_all_instructions))
        assert marks[3:5] == (sum(strict.follow_instruction_list), sum(loose.follow_instruction_list))


def test_an_instruction_that_no_package_has_is_named():
    pytest.importorskip("langdetect")
    with pytest.raises(VTBError, match="no instruction 'poetry:rhyme'"):
        score("ifeval", [{"prompt": "", "instruction_id_list": ["poetry:rhyme"], "kwargs": [{}]}], ["x"])


def test_ifbench_is_verified_by_its_package():
    pytest.importorskip("if_verifiable")
    row = {"prompt": "", "instruction_id_list": ["format:no_whitespace"], "kwargs": [{}]}
    assert score("ifbench", [row] * 2, ["ab", "a b"]) == (0.5, 0)
