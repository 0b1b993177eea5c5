"""``vtb eval`` on miniatures of public benchmarks, each in the layout that it is published in."""

import json

import pytest
from miniatures import ALL
from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.public.catalog import BENCHMARKS, with_public_sets
from nemo_vtb.paths import corpora_dir


@pytest.fixture
def sets(tmp_path, clips):
    """A section of every subset of every benchmark."""
    found = {}
    for name, (write, subsets) in ALL.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, clips)
        for subset in subsets:
            entry = {"benchmark": name, "folder": str(tmp_path / name), "subset": subset, "max_duration": 60.0}
            found[f"{name}_{subset}".replace("/", "_")] = entry
    return found


def test_every_benchmark_is_read_asked_and_scored(tmp_path, sets, trained, tiny_llm, capsys):
    assert set(ALL) == set(BENCHMARKS)
    pytest.importorskip("langdetect")
    (tmp_path / "labels.jsonl").write_text(
        "".join((corpora_dir() / "eval_sets" / "judge_labels.jsonl").open().readlines()[:2])
    )
    judge = {"prompt_file": "open_answers", "labels": str(tmp_path / "labels.jsonl")}
    judge["llm"] = {"backend": "hf", "model": str(tiny_llm)}
    asked = {"max_new_tokens": 4, "bootstrap": 20, "sets": sets, "judge": judge}
    config = {"out": str(tmp_path / "out"), "eval": asked}
    (tmp_path / "mine.yaml").write_text(OmegaConf.to_yaml(config))
    submit = tmp_path / "board"
    command = ["eval", str(trained[1]), "--config-name=mine", f"--config-dir={tmp_path}", f"--submit={submit}"]
    assert main(command) == 0
    whole = json.loads((tmp_path / "out" / "eval.json").read_text(encoding="utf-8"))
    report = whole["public"]
    board = {path.name.partition("-")[2]: path for path in submit.glob("*.jsonl")}
    assert len(board) == len(ALL["voicebench"][1])
    (row,) = map(json.loads, next(p for n, p in board.items() if "ifeval-test" in n).read_text().splitlines())
    assert row["key"] == 1 and row["instruction_id_list"] and "audio" not in row and isinstance(row["response"], str)
    from nemo_vtb.inference.card.leaderboard import leaderboard

    card = "\n".join(leaderboard(whole))
    digest = whole["datasets"]["voicebench_bbh"]["sha256"]
    assert f"voicebench bbh, sha256 {digest[:12]}" in card and "open_answers-1" in card and "Thinking: auto" in card
    assert not list(leaderboard({"asr": {}}))
    assert set(report) == set(sets)
    assert report["voicebench_openbookqa"]["speech"]["n"] == report["voicebench_openbookqa"]["text"]["n"] == 2
    # What no rule scores, the judge does.
    for name in ("voicebench_alpacaeval_full", "speech_ifeval_chain_of_thought", "open_audio_bench_reasoning_qa",
                 "uro_bench_MtBenchEval-en", "audio_multichallenge_all", "air_bench_chat_speech"):  # fmt: skip
        judged, unread = report[name]["speech"], report[name]["speech"]["unmatched"]
        assert report[name]["measure"] == "right by the judge" and judged["value"] in (0, 1) and judged["n"] == 1
        assert unread == {"tuned": 0, "base": 0} and name in whole["judge"]["sets"]
    # Without a transcript there is one way to ask.
    assert "text" not in report["mmau_speech"] and report["mmau_speech"]["speech"]["n"] == 1
    assert report["air_bench_speech"]["answers"] == 1
    answers = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    squad = next(row for row in answers if row["set"] == "spoken_squad_test" and row["form"] == "speech")
    assert squad["reference"] == "the pilot"
    said = capsys.readouterr().out
    assert "Public benchmarks" in said and "voicebench_openbookqa, spoken" in said
    rows = [row for row in answers if row["set"] == "voicebench_openbookqa" and row["form"] == "speech"]
    right = sum(bool(row["tuned_right"]) for row in rows) / len(rows)
    assert report["voicebench_openbookqa"]["speech"]["value"] == right


def test_earlier_rounds_are_answered_as_the_benchmark_does(tmp_path, sets):
    named = ("uro_bench_MtBenchEval-en", "audio_multichallenge_all")
    with_public_sets({"sets": {name: sets[name] for name in named}}, tmp_path / "kept")
    for name in named:
        row = json.loads((tmp_path / "kept" / name / "conversations.jsonl").read_text())
        assert [turn["from"] for turn in row["conversations"]] == ["User", "Assistant"] * 2
        assert [turn.get("text") for turn in row["conversations"]][::2] == ["Question 1?", "Question 2?"]
        assert row["conversations"][1]["value"] == "Answer 1."


def test_columns_are_those_of_each_set(tmp_path, sets):
    named = ("open_audio_bench_trivia_qa", "open_audio_bench_reasoning_qa", "speech_ifeval_closed_ended_questions")
    with_public_sets({"sets": {name: sets[name] for name in named}}, tmp_path / "kept")
    found = [json.loads((tmp_path / "kept" / name / "conversations.jsonl").read_text()) for name in named]
    assert found[0]["custom"]["row"]["answers"] == ["rome", "roma"]
    assert found[1]["custom"] == {"rule": "", "row": {"answers": ["Because."]}}
    # Not of the file beside it, whose rows ask without what is to be followed.
    assert found[2]["conversations"][1]["value"] == "Transcribe, in lower case, without commas."


def test_shipped_configs_name_subsets_that_a_copy_has(tmp_path, sets):
    for name, (_, subsets) in ALL.items():
        cfg = compose(f"eval/public/{name}", [f"local={tmp_path / name}"])
        section = OmegaConf.to_container(cfg.eval, resolve=True)
        there = {key: entry for key, entry in section["sets"].items() if entry["subset"] in subsets}
        assert there and {entry["benchmark"] for entry in section["sets"].values()} == {name}
        written, about = with_public_sets({**section, "sets": there}, tmp_path / "kept" / name)
        assert written["sets"].keys() == about.keys() == there.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"benchmark": "voice_bench"}, "benchmark is 'voice_bench'"),
        ({"folder": "gone"}, "folder is 'gone'"),
        ({"subset": "mmlu"}, "voicebench/mmlu holds no"),
        ({"rule": "coin"}, "rule is 'coin'"),
    ],
)
def test_what_is_no_local_copy_is_named(tmp_path, sets, change, said):
    with pytest.raises(VTBError, match=said):
        with_public_sets({"sets": {"mine": {**sets["voicebench_mmsu"], **change}}}, tmp_path / "kept")


def test_a_row_without_its_clip_is_named(tmp_path, sets):
    (tmp_path / "mmau" / "test-mini-audios" / "x1.wav").unlink()
    with pytest.raises(VTBError, match=r"mmau-test-mini.json, row 1: no clip ./test-mini-audios/x1.wav"):
        with_public_sets({"sets": {"mine": sets["mmau_speech"]}}, tmp_path / "kept")


def test_every_row_is_one_that_its_rule_can_score(tmp_path, sets):
    pytest.importorskip("langdetect")
    section, about = with_public_sets({"sets": sets}, tmp_path / "kept")
    assert set(about) == set(section["sets"]) == set(sets)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("wer", "needs 'lang'"),
        ("choice_words", "needs 'choices'"),
        ("named_last", "needs 'options'"),
        ("ifeval", "needs 'instruction_id_list'"),
        ("number", "there is no number in the reference"),
        ("letter", "names no letter"),
    ],
)
def test_a_rule_that_the_rows_do_not_fit_is_refused_before_anything_is_asked(tmp_path, sets, rule, told):
    name = next(name for name in sets if "alpacaeval" in name)
    with pytest.raises(VTBError, match=rf"eval.sets.{name}: .*rule '{rule}'.*{told}"):
        with_public_sets({"sets": {name: {**sets[name], "rule": rule}}}, tmp_path / "kept")
