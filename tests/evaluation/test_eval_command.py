"""``vtb eval`` from the command line, on a tiny checkpoint."""

import json
import math

import pytest
from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.sets.plan import read_plan


@pytest.fixture
def evaluated(tmp_path, tiny_sets, trained):
    """Runs the command with overrides."""

    def run(*arguments, sections=tiny_sets):
        (tmp_path / "mine.yaml").write_text(OmegaConf.to_yaml({"out": str(tmp_path / "out"), "eval": sections}))
        command = ["eval", str(trained[1]), "--config-name=mine", f"--config-dir={tmp_path}", *arguments]
        return main(command), tmp_path / "out"

    return run


def _score(found):
    assert set(found) >= {"value", "low", "high", "n"} and found["n"] > 0
    return found


def test_everything_is_measured_for_both_sides(evaluated, capsys):
    code, out = evaluated()
    assert code == 0
    report = json.loads((out / "eval.json").read_text(encoding="utf-8"))
    assert _score(report["asr"]["en"]["wer"])["n"] == 2 and report["asr"]["en"]["wer"]["base"]["value"] is not None
    assert report["asr"]["en"]["wer"]["normaliser"] == "EnglishTextNormalizer"
    assert "version:" in _score(report["ast"]["en-es"]["bleu"])["signature"] and _score(report["ast"]["en-es"]["chrf"])
    assert _score(report["sqa"]["em"]) and _score(report["sqa"]["f1"])
    for form in ("text", "speech", "half", "gap", "gap_half"):
        assert _score(report["mixed"][form])["n"] == 1
    assert report["mixed"]["sets"]["each_way"]["text"]["n"] == 2
    assert _score(report["multiturn"]["accuracy"])["value"] == 1.0 and report["multiturn"]["conversations"]["n"] == 1
    for suite in ("short", "sums", "chat"):
        for key in ("tuned", "base", "drop"):
            _score(report["text"][suite][key])
    chat = report["text"]["chat"]
    assert chat["drop"]["value"] == pytest.approx(math.log(chat["tuned"]["value"] / chat["base"]["value"]))
    assert chat["kl"]["value"] > 0
    assert report["probes"]["known"]["measure"] == "wer"
    assert _score(report["probes"]["unseen"]["against"])["probe"] == "known"
    assert report["environment"]["versions"]["torch"] and report["checkpoint"]["lora_rank"] == 4
    said = capsys.readouterr()
    assert "word error rate" in said.out and "untouched LLM" in said.out and "eval.html" in said.out
    assert "talks" in said.err or "answer" in said.err


def test_answers_are_kept_and_repeat(evaluated):
    _, out = evaluated()
    first = (out / "answers.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in first.splitlines()]
    assert {row["set"] for row in rows} >= {"clips", "each_way", "talks", "short"}
    assert all({"tuned", "base", "tuned_right", "base_right"} <= row.keys() for row in rows)
    assert any(row["tuned"] != row["base"] for row in rows)
    evaluated()
    assert (out / "answers.jsonl").read_text(encoding="utf-8") == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+question=1"], "config.question"),
        (["+eval.set=1"], "did you mean 'sets'"),
        (["+eval.sets.clips.manifest=x"], r"eval.sets.clips: unknown config key"),
        (["eval.sets.clips.kind=tts"], "eval.sets.clips.kind is 'tts'"),
        (["~eval.sets.clips.kind"], "eval.sets.clips has no kind"),
        (["eval.sets.clips.manifest_filepath=gone.jsonl"], "eval.sets.clips: no such file: gone.jsonl"),
        (["+eval.sets.clips.at_most=none"], "eval.sets.clips.at_most is 'none'"),
        (["+eval.sets.clips.max_new_tokens=0"], "eval.sets.clips.max_new_tokens is 0"),
        (["eval.sets.unseen.against=clips"], "eval.sets.unseen.against is 'clips'"),
        (["eval.text.short.path=gone.jsonl"], "eval.text.short: no such file: gone.jsonl"),
        (["eval.text.short.type=quiz"], "eval.text.short.type is 'quiz'"),
        (["+eval.text.short.number=3"], "eval.text.short.number"),
        (["eval.bootstrap=0"], "eval.bootstrap is 0"),
        (["eval.sets=5"], "eval.sets is 5"),
        ([f"--submit={__file__}"], "--submit"),
        (
            ["--submit=board", *(f"~eval.sets.{name}" for name in ("clips", "known", "unseen"))],
            "--submit: nothing that is asked belongs",
        ),
        (["--gate"], "eval.max_text_drop"),
        (["+eval.max_text_drop=much"], "eval.max_text_drop is 'much'"),
        (["+eval.max_text_drop=1", "~eval.text.short", "~eval.text.sums"], "eval.max_text_drop has nothing to judge"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(evaluated, capsys, arguments, message):
    code, out = evaluated(*arguments)
    assert code == 2 and not out.exists()
    told = capsys.readouterr().err
    assert "tuned:" not in told, "nothing was asked"
    lines = [line for line in told.splitlines() if line.startswith("vtb:")]
    assert len(lines) == 1 and message in lines[0]


def test_the_gate_fails_where_a_reply_of_the_untouched_llm_was_lost(evaluated, tmp_path, tiny_sets, capsys):
    code, out = evaluated("--gate", "+eval.max_text_drop=0")
    report = json.loads((out / "eval.json").read_text(encoding="utf-8"))
    assert code == 0 and report["gate"]["passed"] is True
    rows = map(json.loads, (out / "answers.jsonl").read_text(encoding="utf-8").splitlines())
    (short,) = [row for row in rows if row["set"] == "short"]
    assert short["tuned"] != short["base"]
    row = {"id": "s", "prompt": "Say hi.", "check": {"type": "verbatim", "answer": short["base"]}}
    (tmp_path / "suite.jsonl").write_text(json.dumps(row) + "\n")
    code, out = evaluated("--gate", "+eval.max_text_drop=50")
    report = json.loads((out / "eval.json").read_text(encoding="utf-8"))
    assert code == 1 and report["gate"]["passed"] is False
    assert [lost["id"] for lost in report["text"]["short"]["lost"]] == ["s"]
    assert "Gate: FAILED" in capsys.readouterr().out
    assert evaluated("+eval.max_text_drop=50")[0] == 0


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, capsys):
    path = tmp_path / "other.ckpt"
    path.write_bytes(b"not a checkpoint")
    assert main(["eval", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "gone.ckpt")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err


def test_rows_that_cannot_be_checked_name_their_place(evaluated, tmp_path, tiny_sets, capsys):
    suite = tmp_path / "suite.jsonl"
    suite.write_text('{"id": "a", "prompt": "Hi", "check": {"type": "words"}}\n')
    assert evaluated()[0] == 2
    assert f"{suite}:1" in capsys.readouterr().err
    suite.write_text('{"id": "a", "prompt": "Hi"}\n')
    assert evaluated()[0] == 2
    assert f"{suite}:1" in capsys.readouterr().err
    suite.write_text("{broken\n")
    assert evaluated()[0] == 2
    assert f"{suite}:1: broken JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "key"), [("suite", "text.short"), ("chats", "text.chat"), ("mixed", "sets.each_way"), ("spoken", "known")]
)
def test_rows_of_one_id_are_refused_where_answers_are_matched_by_it(evaluated, tmp_path, tiny_sets, capsys, name, key):
    tiny_sets["sets"] = {part: tiny_sets["sets"][part] for part in ("each_way", "known", "unseen")}
    path = tmp_path / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]), encoding="utf-8")
    assert evaluated()[0] == 2
    said = capsys.readouterr().err
    assert key in said and f"stands at {path}:1 and at {path}:{len(lines) + 1}" in said


@pytest.mark.parametrize(("kind", "key"), [("asr", "lang"), ("ast", "target_lang")])
def test_a_probe_of_several_languages_is_refused(tmp_path, tiny_sets, kind, key):
    path = tmp_path / "spoken.jsonl"
    one, other = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    path.write_text(json.dumps(one | {key: "it"}) + "\n" + json.dumps(other | {key: "fr"}), encoding="utf-8")
    entry = {"kind": kind, "probe": True, "type": "nemo", "manifest_filepath": str(path)}
    with pytest.raises(VTBError, match=f"eval.sets.known: a probe has one score, so one {key}, not fr, it"):
        read_plan({"sets": {"known": entry}}, Reading("<|audio|>", 0.08))
    plan = read_plan({"sets": {"known": entry | {"probe": False}}}, Reading("<|audio|>", 0.08))
    assert plan.answers == 2


def test_a_conversation_that_ends_without_an_answer_is_refused_unless_it_is_a_script(tmp_path, tiny_sets):
    def plan(name):
        path = tmp_path / f"{name}.jsonl"
        row = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
        row["conversations"].append({"from": "User", "type": "text", "value": "Thanks."})
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        sets = {part: entry for part, entry in tiny_sets["sets"].items() if entry["manifest_filepath"] == str(path)}
        return read_plan({"sets": sets}, Reading("<|audio|>", 0.08))

    for name in ("sqa", "mixed"):
        with pytest.raises(VTBError, match=rf"eval.sets.*{name}.jsonl:1: the last turn is the user's"):
            plan(name)
    assert plan("talks").answers == 2


def test_a_suite_or_set_without_rows_is_named(evaluated, tmp_path, tiny_sets, capsys):
    (tmp_path / "suite.jsonl").write_text("\n")
    code, out = evaluated("--gate", "+eval.max_text_drop=1")
    assert code == 2 and not out.exists()
    assert f"eval.text.short: {tmp_path / 'suite.jsonl'} has no rows" in capsys.readouterr().err
    path = tmp_path / "sqa.jsonl"
    row = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(row | {"custom": {"checkable": False}}) + "\n", encoding="utf-8")
    assert evaluated()[0] == 2
    assert "eval.sets.asked: none of its 1 rows is checkable" in capsys.readouterr().err
