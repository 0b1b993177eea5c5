"""``vtb study`` from the command line: two arms of one step, killed in the middle and started again."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from html_page import Page
from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.study.plan import read_study


def _composed(tiny_study: list[str], *overrides: str):
    name, folder = (argument.partition("=")[2] for argument in tiny_study[1:])
    return read_study(compose(name, list(overrides), folder), folder)


def test_a_killed_study_goes_on_without_its_finished_arm(finished: SimpleNamespace):
    assert all(path.stat().st_mtime_ns == before for path, before in finished.kept.items())
    assert "joint, seed 0" not in finished.said and "[2 of 2] speech_only, seed 0: trained in" in finished.said
    trained = {
        arm: json.loads((finished.out / "arms" / arm / "seed0" / "train.json").read_text())
        for arm in ("joint", "speech_only")
    }
    assert {about["steps"] for about in trained.values()} == {1}
    assert set(trained["joint"]["realised_share"]) == {"asr", "text"}
    assert set(trained["speech_only"]["realised_share"]) == {"asr"}
    assert not list(finished.out.glob("arms/*/*/last.ckpt")), "keep_checkpoints is false"


def test_what_was_asked_before_a_kill_is_not_asked_again(finished: SimpleNamespace):
    first, second = (finished.out / "arms" / arm / "seed0" for arm in ("joint", "speech_only"))
    asked, whole = (
        [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()] for run in (second, first)
    )
    before = [row for row in asked if row.get("asked") == "before the kill"]
    assert 0 < len(before) < len(asked)
    keys = [[(row["set"], row["form"], row["id"]) for row in rows] for rows in (asked, whole)]
    assert keys[0] == keys[1]
    assert not list(finished.out.glob("arms/*/*/measuring"))


def test_a_finished_study_is_compared(finished: SimpleNamespace):
    report = json.loads((finished.out / "study.json").read_text())
    scores = report["arms"]["joint"]["scores"]
    measures = {"wer", "sqa", "mixed_text", "mixed_half", "mixed_speech", "gap", "multiturn", "multiturn_later", "text"}
    assert set(scores) == measures | {"kl", "bpb", "choice", "speech", "wer/people"}
    written = {"mixed_text", "multiturn", "multiturn_later", "text", "choice", "bpb", "kl"}
    assert set(report["untouched"]["scores"]) == written
    assert report["untouched"]["scores"]["kl"]["value"] == 0 < scores["bpb"]["value"]
    assert scores["wer"]["n"] == 2 and scores["wer/people"]["n"] == 1, "a set apart counts in no total"
    assert scores["kl"]["value"] > 0 and len(scores["kl"]["seeds"]) == 1
    assert [claim["verdict"] for claim in report["claims"]] == ["not shown", "shown", "not testable at this size"]
    assert report["environment"]["command"].startswith("vtb study")
    assert (finished.out / "study.png").read_bytes().startswith(b"\x89PNG")
    table = (finished.out / "study.md").read_text()
    assert "| one joint stage | 1 |" in table and "| Word errors | Word errors, people |" in table
    page = Page((finished.out / "study.html").read_text(encoding="utf-8"))
    assert "There are no others." in page.text and len(page.all("svg")) == 2
    assert "of 3 claims, 1 shown, 1 not shown and 1 not testable at this size" in page.text


def test_runs_are_measured_on_their_way(finished: SimpleNamespace):
    report = json.loads((finished.out / "study.json").read_text())
    assert {arm: set(found) for arm, found in report["on_the_way"]["50"].items()} == {
        arm: {"text", "choice"} for arm in ("joint", "speech_only")
    }
    # The mark of a run of one step is its end.
    way, end = report["on_the_way"]["50"]["joint"], report["arms"]["joint"]["scores"]
    assert all(way[name]["value"] == end[name]["value"] for name in way)
    assert not list(finished.out.glob("arms/*/*/*.ckpt")) and not list(finished.out.glob("arms/*/*/resume"))
    assert "| one joint stage | 50 % |" in (finished.out / "study.md").read_text()
    assert report["arms"]["joint"]["core_hours"] > 0


def test_power_says_how_many_seeds_a_claim_needs(finished: SimpleNamespace, tiny_study, capsys):
    better = "{arm: joint, measure: choice, better_than: speech_only}"
    kept = "{arm: joint, measure: text, loses_at_most: 0.05, of: untouched}"
    assert main([*tiny_study, "--power", f"claims=[{{title: Better, evidence: [{better}, {kept}]}}]"]) == 0
    said = capsys.readouterr().out
    assert "joint − speech_only" in said and "one seed says nothing of it" in said
    needs = json.loads((finished.out / "power.json").read_text())
    assert [(need["measure"], need["other"]) for need in needs] == [("choice", "speech_only"), ("text", "untouched")]
    assert all(need["planned"] == 1 and need["wanted"] == 0.05 for need in needs)


def test_what_is_finished_so_far_is_compared(finished: SimpleNamespace, tiny_study, tmp_path, capsys):
    """The line of the docs, with one of two arms finished: in a process of its own, as it is typed."""
    for path in [*finished.out.glob("arms/joint/seed0/*.json*"), *finished.out.glob("untouched*")]:
        copy = tmp_path / path.relative_to(finished.out)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    line = [sys.executable, "-m", "nemo_vtb.cli", *tiny_study, f"out={tmp_path}", "--so-far"]
    rules = ("better_than: speech_only", "above: 0")
    better, kept = (f"{{arm: joint, measure: choice, {rule}}}" for rule in rules)
    line.append(f"claims=[{{title: Better, evidence: [{kept}, {better}]}}, {{title: Kept, evidence: [{kept}]}}]")
    ran = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "not run yet" in ran.stdout and not (tmp_path / "arms" / "speech_only").exists()
    report = json.loads((tmp_path / "study.json").read_text())
    whole = json.loads((finished.out / "study.json").read_text())
    assert report["runs"] == {"done": 1, "planned": 2} and whole["runs"] == {"done": 2, "planned": 2}
    assert report["arms"] == {"joint": whole["arms"]["joint"]}
    waiting, judged = report["claims"]
    assert waiting["verdict"] == "not run yet" != judged["verdict"]
    assert waiting["why"] == "no run of the arm speech_only is finished"
    page = Page((tmp_path / "study.html").read_text(encoding="utf-8"))
    assert "1 of 2 runs are finished: verdicts may change with the others." in page.text
    assert main([*tiny_study, f"out={tmp_path / 'none'}", "--so-far"]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_the_length_is_chosen_by_the_speech_curve_alone(tiny_study, tmp_path, capsys):
    length = "+length={arm: joint, kinds: [asr], most: 4, every: 1, gain: 1.0, checks: 1}"
    line = [*tiny_study, f"out={tmp_path}", length, "common=['model.optimizer.lr=1e-3']"]
    assert main(line) == 2
    assert "add --length to the same line first" in capsys.readouterr().err
    assert main([*line, "--length"]) == 0
    assert "1 steps: the curve is flat there" in capsys.readouterr().out
    made = json.loads((tmp_path / "length.json").read_text())
    assert (
        made["flat"]
        and [check["step"] for check in made["curve"]] == [1, 2]
        and set(made["curve"][0])
        == {
            "step",
            "loss",
            "asr",
        }
    )
    assert main([*line, "--length", "common=['model.optimizer.lr=2e-3']"]) == 0
    said = capsys.readouterr().out
    assert "made with training.model.optimizer.lr=0.001, and now it is 0.002" in said and "starts anew" in said
    (tmp_path / "length.json").write_text(json.dumps({**made, "steps": 7}))
    runs = _composed(tiny_study, f"out={tmp_path}", length).runs
    assert {run.settings["training"]["trainer"]["max_steps"] for run in runs} == {7}
    with pytest.raises(VTBError, match=r"length\.arm is 'nobody'"):
        _composed(tiny_study, f"out={tmp_path}", length.replace("joint", "nobody"))
    assert main([*line, "--length", "length.kinds=[ast]"]) == 2
    assert "no data.validation_ds.kinds.ast" in capsys.readouterr().err


def test_a_folder_made_with_other_settings_or_data_is_refused(finished: SimpleNamespace, tiny_study, capsys):
    assert main([*tiny_study, "common=['model.optimizer.lr=2e-2']"]) == 2
    said = capsys.readouterr().err
    assert "training.model.optimizer.lr=0.01, and now it is 0.02" in said and "out=FOLDER" in said
    assert main([*tiny_study, "measure.eval.max_new_tokens=5"]) == 2
    assert "measure.eval.max_new_tokens=4" in capsys.readouterr().err
    # How answers are compared may change.
    assert main([*tiny_study, "measure.eval.bootstrap=60"]) == 0
    assert json.loads((finished.out / "study.json").read_text())["arms"]["joint"]["scores"]["wer"]["n"] == 2
    settings = finished.out / "untouched.settings.json"
    before = settings.read_text()
    settings.write_text(before.replace('"pretrained_llm": "', '"pretrained_llm": "another '))
    assert main(tiny_study) == 2
    assert "pretrained_llm='another" in (said := capsys.readouterr().err) and "untouched.jsonl" in said
    settings.write_text(before)
    suite = finished.out.parent / "suite.jsonl"
    before = suite.read_text()
    suite.write_text(before.replace("Say hi.", "Say hello."))
    assert main(tiny_study) == 2
    assert f"with another {suite}" in capsys.readouterr().err
    suite.write_text(before)
    # Where nothing is run any more, the data need not be there.
    suite.rename(suite.with_suffix(".away"))
    assert main(tiny_study) == 0 and main([*tiny_study, "--so-far"]) == 0
    assert main([*tiny_study, "+arms.joint.seeds=[0,1]"]) == 2
    assert "suite.jsonl" in capsys.readouterr().err
    made = finished.out / "arms" / "joint" / "seed0" / "settings.json"
    kept = made.read_text()
    settings_of_run = json.loads(kept)
    settings_of_run["files"][str(suite)] = "0" * 64
    made.write_text(json.dumps(settings_of_run))
    assert main([*tiny_study, "--so-far"]) == 2
    assert f"{suite} of different contents" in capsys.readouterr().err
    made.write_text(kept)
    suite.with_suffix(".away").rename(suite)
    # An arm more is no other setting of those that are there.
    assert main([*tiny_study, "+arms.more={text_share: 0.2}", "only=[joint]"]) == 0
    assert "2 of 3 runs" in capsys.readouterr().out


def test_parts_share_the_runs_and_first_seeds_come_first(tiny_study):
    seeds = "arms.joint.seeds=[0,1,2]"
    parts = [_composed(tiny_study, f"+{seeds}", f"part={number}/2").mine for number in range(2)]
    assert [[run.name for run in part] for part in parts] == [
        ["joint, seed 0", "joint, seed 1"],
        ["speech_only, seed 0", "joint, seed 2"],
    ]
    (only,) = _composed(tiny_study, "only=[speech_only]").mine
    assert only.arm == "speech_only" and only.settings["training"]["seed"] == 0


def test_weights_of_another_arm_are_asked_with_lora_scaled_or_gated(tiny_study, tmp_path, capfd, forking):
    line = [
        *(*tiny_study, f"out={tmp_path}", "keep_checkpoints=true", "~arms.speech_only"),
        "+arms.silent={title: LoRA silent, weights_of: joint, asked_with: {lora_scale: 0}}",
        "+arms.gate={title: gated, weights_of: joint, asked_with: {text_lora: audio_gated}}",
        "claims=[{title: As before, evidence: [{arm: silent, says_as: untouched}, {arm: gate, says_as: untouched}]}]",
    ]
    assert main([*line, "part=1/2"]) == 0
    assert "silent, seed 0 waits for the weights of" in capfd.readouterr().out
    assert not (tmp_path / "study.json").exists()
    assert main(line) == 0
    report = json.loads((tmp_path / "study.json").read_text())
    scores = {arm: about["scores"] for arm, about in report["arms"].items()}
    assert report["claims"][0]["verdict"] == "shown", report["claims"]
    assert scores["silent"]["kl"]["value"] == pytest.approx(0, abs=1e-8) and scores["joint"]["kl"]["value"] > 1e-5
    assert report["arms"]["silent"]["minutes"]["train"] == 0 < report["arms"]["joint"]["minutes"]["train"]
    assert not (tmp_path / "arms" / "silent" / "seed0" / "last.ckpt").exists()


def test_a_share_of_text_leaves_the_others_in_proportion():
    study = read_study(compose("study/quickstart", ["out=unused"]))
    by_arm = {run.arm: run.settings["training"] for run in study.runs}
    assert len({training["trainer"]["max_steps"] for training in by_arm.values()}) == 1
    for arm, training in by_arm.items():
        train_ds = training["data"]["train_ds"]
        shares = {kind: section["share"] for kind, section in train_ds["blend"]["kinds"].items()}
        share = shares.pop("text", 0) / (sum(shares.values()) + shares.get("text", 0) or 1)
        wanted = study.arms[arm].text_share
        assert share * (1 - wanted) == pytest.approx(wanted, abs=1e-6)
        assert train_ds["batch_tokens"] == 1536 and shares == {"asr": 0.4, "ast": 0.1, "sqa": 0.1, "mixed": 0.25}
    assert "lora" not in by_arm["frozen"]["model"] and by_arm["joint"]["model"]["lora"]["r"] == 32


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+arm=1", "config.arm"),
        ("+arms.joint.seed=1", "arms.joint.seed"),
        ("+arms.joint.seeds=[]", "arms.joint.seeds is []"),
        ("+arms.joint.seeds=[1,1]", "names a seed twice"),
        ("arms.joint.text_share=1", "arms.joint.text_share is 1"),
        ("+arms.joint.asked_with={lora_scale: -1}", "asked_with.lora_scale is -1"),
        ("+arms.joint.asked_with={text_lora: never}", "asked_with.text_lora is 'never'"),
        ("+arms.half={weights_of: join}", "arms.half.weights_of is 'join'"),
        ("+arms.half={weights_of: joint}", "set keep_checkpoints=true"),
        ("+arms.half={weights_of: joint, seeds: [3]}", "has no seed 3"),
        ("+arms.half={weights_of: joint, text_share: 0.2}", "text_share and overrides have no effect"),
        ("only=[join]", "only=join"),
        ("only=joint", r"only=[joint]"),
        ("part=2/2", "part=2/2"),
        ("threads=0", "threads=0"),
        ("train=nothing", "nothing"),
        ("~measure", "missing config key measure"),
        ("measure.apart=[poeple]", "measure.apart names 'poeple', which is none of"),
        ("+measure.eval.max_text_drop=2", "measure.eval.max_text_drop does nothing in a study"),
        ("+measure.eval.judge={llm: {model: judge}}", "measure.eval.judge does nothing in a study"),
        ("common=['model.optimizer.rate=1']", "model.optimizer.rate"),
    ],
)
def test_what_is_no_study_is_said(tiny_study, override, message):
    with pytest.raises(VTBError, match=message.replace("[", r"\[")):
        _composed(tiny_study, override)


def test_a_claim_that_cannot_be_judged_is_said_before_anything_runs(tiny_study, tmp_path, capsys):
    folder = tiny_study[2].partition("=")[2]
    cfg = OmegaConf.load(f"{folder}/tiny_study.yaml")
    cfg.claims[0].evidence[0].arm = "join"
    (tmp_path / "tiny_study.yaml").write_text(OmegaConf.to_yaml(cfg))
    (tmp_path / "tiny_train.yaml").write_text(OmegaConf.to_yaml(OmegaConf.load(f"{folder}/tiny_train.yaml")))
    assert main(["study", "--config-name=tiny_study", f"--config-dir={tmp_path}"]) == 2
    assert "claims.0.evidence.0 names the arm 'join'" in capsys.readouterr().err


def test_what_cannot_be_asked_is_said_before_training(tiny_study, tmp_path, capfd):
    missing = "measure.eval.sets.clips.manifest_filepath=nowhere.jsonl"
    assert main([*tiny_study, f"out={tmp_path}", missing, "only=[joint]"]) == 2
    assert "nowhere.jsonl" in capfd.readouterr().err
    assert not (tmp_path / "arms" / "joint" / "seed0" / "train.json").exists()
