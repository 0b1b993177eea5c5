"""What ``vtb eval`` says of answers that ended at a limit, and of prompts that leave no room for one."""

import json
import sys

import pytest
from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.evaluation.run import evaluate
from nemo_vtb.pages.eval import render_eval_page


@pytest.fixture
def evaluated(tmp_path, tiny_sets, trained):
    """Runs the command with overrides."""

    def run(*arguments):
        kept = {"sets": {"clips": tiny_sets["sets"]["clips"], "talks": tiny_sets["sets"]["talks"]}}
        kept |= {"text": {"short": tiny_sets["text"]["short"]}, "max_new_tokens": 4, "bootstrap": 20}
        (tmp_path / "mine.yaml").write_text(OmegaConf.to_yaml({"out": str(tmp_path / "out"), "eval": kept}))
        return main(["eval", str(trained[1]), "--config-name=mine", f"--config-dir={tmp_path}", *arguments])

    return run


def test_answers_that_were_cut_off_are_counted(evaluated, tmp_path, capsys):
    assert evaluated() == 0
    report = json.loads((tmp_path / "out" / "eval.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    cut = report["decoding"]["cut_off"]
    assert cut["clips"] == {"tuned": 2, "base": 2, "answers": 2} and cut["talks"]["answers"] == 2
    assert all(row["tuned_cut"] and row["base_cut"] for row in rows if row["set"] == "clips")
    line = "clips: 2 of 2 answers were cut off at max_new_tokens=4"
    assert line in capsys.readouterr().out
    assert line.capitalize() in render_eval_page(report, [], json.dumps(report))


def test_a_prompt_that_leaves_no_position_is_named_before_anything_is_asked(evaluated, tmp_path, capsys):
    row = {"id": "endless", "prompt": "word " * 9000, "check": {"type": "words", "at_least": 0}}
    (tmp_path / "suite.jsonl").write_text(json.dumps(row) + "\n")
    assert evaluated() == 2
    told = capsys.readouterr().err
    assert "vtb: endless: the prompt takes 9,0" in told and "positions" in told


@pytest.mark.parametrize(
    ("package", "told"), [("sacrebleu.metrics", "BLEU and chrF need sacrebleu"), ("matplotlib.figure", "plots need")]
)
def test_what_scores_and_draws_is_missed_before_anything_is_asked(
    evaluated, tiny_sets, monkeypatch, capsys, package, told
):
    monkeypatch.setitem(sys.modules, package, None)
    path = tiny_sets["sets"]["translated"]["manifest_filepath"]
    assert evaluated(f"+eval.sets.translated={{kind: ast, type: nemo, manifest_filepath: '{path}'}}") == 2
    said = capsys.readouterr().err
    assert f"vtb: {told}" in said and "tuned:" not in said


def test_answers_are_kept_whatever_comes_of_the_page(tmp_path, tiny_sets, trained):
    sections = {"sets": {"clips": tiny_sets["sets"]["clips"]}, "max_new_tokens": 4, "bootstrap": 20}
    cfg = OmegaConf.create({"out": str(tmp_path / "out"), "eval": sections})

    def drawn(*_):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        evaluate(str(trained[1]), cfg, "vtb eval", drawn)
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows if row["tuned"]] and len(rows) == 2
