"""``vtb data prepare`` on miniatures of public corpora; two steps of training on all of them, and an evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus_miniatures import ALL

from nemo_vtb.cli import main
from nemo_vtb.data.corpora.catalog import CORPORA

# Rows by file, the languages of what is said.
HOLDS = {
    "librispeech": ({"train-clean-100": 2, "test-clean": 2, "test-other": 2}, {"en"}),
    "mls": ({"train": 2, "dev": 2, "test": 2}, {"de", "es"}),
    "common_voice": ({"train": 1, "dev": 1, "test": 1}, {"en"}),
    "fleurs": ({"train": 2, "dev": 2, "test": 2}, {"de", "en"}),
    "voxpopuli": ({"train": 1, "dev": 1, "test": 1}, {"en"}),
    "gigaspeech": ({"train": 1, "test": 1}, {"en"}),
    "covost2": ({"train": 1, "dev": 1, "test": 1}, {"en"}),
    "europarl_st": ({"train": 2, "dev": 2, "test": 2}, {"en"}),
    "slurp": ({"train": 1, "dev": 1, "test": 1, "train.sqa": 1, "dev.sqa": 1, "test.sqa": 1}, {"en"}),
    "spoken_squad": ({"train": 1, "test": 1}, set()),
    "ultrachat": ({"train": 1, "test": 1}, set()),
    "openhermes": ({"train": 1}, set()),
    "magpie": ({"train": 1}, set()),
    "tulu": ({"train": 1}, set()),
}


def prepared(name: str, folder: Path, clips: Any) -> tuple[int, Path]:
    (folder / name).mkdir()
    ALL[name](folder / name, clips)
    out = folder / f"{name}_out"
    return main(["data", "prepare", name, "--from", str(folder / name), "--out", str(out)]), out


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def everything(tmp_path_factory, clips):
    """Every corpus, prepared."""
    folder = tmp_path_factory.mktemp("corpora")
    assert set(ALL) == set(CORPORA) == set(HOLDS)
    found = {name: prepared(name, folder, clips) for name in ALL}
    assert not [name for name, (code, _) in found.items() if code]
    return {name: out for name, (_, out) in found.items()}


@pytest.mark.parametrize("name", HOLDS)
def test_splits_tags_and_licence(everything, name: str, capsys):
    out = everything[name]
    files, languages = HOLDS[name]
    assert {path.stem: len(rows(path)) for path in out.glob("*.jsonl")} == files
    found = [row for path in out.glob("*.jsonl") for row in rows(path)]
    assert {row["lang"] for row in found if "lang" in row} == languages
    assert all(Path(row["audio_filepath"]).is_file() for row in found if "audio_filepath" in row)
    about = json.loads((out / "corpus.json").read_text())
    assert about["licence"] == CORPORA[name].licence and len(about["files"]) == len(files)
    lint = ["data", "lint", *map(str, sorted(out.glob("train*.jsonl"))), "--processes=1", "--no-decode"]
    assert main(lint) == 0, capsys.readouterr().out


def test_words_of_gigaspeech_are_as_people_write(everything):
    (row,) = rows(everything["gigaspeech"] / "train.jsonl")
    assert row["text"] == "good morning, all." and row["offset"] == 0.0


def test_translations_have_both_languages(everything):
    (row,) = rows(everything["covost2"] / "train.jsonl")
    assert (row["lang"], row["target_lang"], row["answer"]) == ("en", "de", "Guten Tag.")
    second = rows(everything["europarl_st"] / "train.jsonl")[1]
    assert (second["offset"], second["duration"], second["answer"]) == (0.7, 0.7, "Ich stimme zu.")


def test_all_of_them_train_for_two_steps_and_are_evaluated(everything, tmp_path, tiny_llm, tiny_whisper, trained):
    kinds: dict[str, Any] = {}
    for name, out in everything.items():
        for kind, section in yaml.safe_load((out / "blend" / f"{name}.yaml").read_text())["kinds"].items():
            kinds.setdefault(kind, {"share": 1.0, "input_cfg": []})["input_cfg"] += section["input_cfg"]
    assert set(kinds) == {"asr", "ast", "sqa", "text"}
    for kind in kinds.values():
        for entry in kind["input_cfg"]:
            entry["weight"] = 1.0
    cfg = {
        "defaults": ["quickstart", "_self_"],
        "data": {"train_ds": {"batch_tokens": 1500, "blend": {"kinds": kinds}}},
        "trainer": {"max_steps": 2, "limit_val_batches": 0, "val_check_interval": 2},
    }
    (tmp_path / "mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump(cfg, sort_keys=False))
    tiny = [f"model.pretrained_llm={tiny_llm}", f"model.pretrained_asr={tiny_whisper}", "threads=1"]
    tiny += [f"++model.perception.modality_adapter.{size}" for size in ("d_model=32", "n_heads=4", "n_layers=1")]
    folder = [f"--config-dir={tmp_path}", "model.encoder_cache=false", "~data.train_ds.blend.kinds.mixed"]
    folder += [f"+trainer.default_root_dir={tmp_path}", "++trainer.limit_val_batches=0"]
    assert main(["train", "--config-name=mine", *folder, *tiny]) == 0
    out = everything["librispeech"]
    limits = ["eval.max_new_tokens=4", "eval.bootstrap=20", "threads=1", f"local={out}", f"out={tmp_path / 'eval'}"]
    assert main(["eval", str(trained[1]), "--config-name=eval/public/librispeech", *limits]) == 0
    report = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert report["asr"]["en"]["wer"]["n"] == 4 and set(report["asr"]["en"]["sets"]) == {"test_clean", "test_other"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["libri", "--from", "."], "no corpus 'libri'"),
        (["librispeech", "--from", "gone"], "--from gone: no such folder"),
        (["covost2", "--from", "."], "holds no"),
        (["mls", "--from", ".", "x=1"], "no config to override"),
    ],
)
def test_what_cannot_be_prepared_is_said_in_a_line(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err


def test_a_recording_that_is_gone_names_the_row(tmp_path, clips, capsys):
    (tmp_path / "covost2").mkdir()
    ALL["covost2"](tmp_path / "covost2", clips)
    (tmp_path / "covost2" / "en" / "clips" / "common_voice_en_dev.mp3").unlink()
    out = ["--from", str(tmp_path / "covost2"), "--out", str(tmp_path / "out")]
    assert main(["data", "prepare", "covost2", *out]) == 2
    assert "covost_v2.en_de.dev.tsv:2: no recording" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.jsonl")), "no file looks whole that is not"


def test_a_language_can_be_chosen(tmp_path, clips):
    (tmp_path / "mls").mkdir()
    ALL["mls"](tmp_path / "mls", clips)
    arguments = ["--from", str(tmp_path / "mls"), "--out", str(tmp_path / "out"), "--languages", "de"]
    assert main(["data", "prepare", "mls", *arguments]) == 0
    assert {row["lang"] for row in rows(tmp_path / "out" / "train.jsonl")} == {"de"}


def test_what_is_left_out_of_chats_is_counted_and_no_turns_are_joined(tmp_path, capsys):
    def said(*words):
        roles = ("user", "assistant")
        return [{"role": roles[number % 2], "content": word} for number, word in enumerate(words)]

    chats = [
        said("Hi.", "Hello."),
        said("Only a question."),
        [{"role": "system", "content": "Be brief."}],
        said("One?", "", "Two?", "2."),
        said("Hi.", "Hello.", "Are you there?"),
        said("", "Hello."),
        [{"role": "system", "content": " "}, *said("Hi.", "Hello.")],
    ]
    (tmp_path / "tulu").mkdir()
    lines = [json.dumps({"id": str(number), "messages": messages}) for number, messages in enumerate(chats)]
    (tmp_path / "tulu" / "train.jsonl").write_text("\n\n".join(lines))
    out = tmp_path / "out"
    command = ["data", "prepare", "tulu", "--from", str(tmp_path / "tulu"), "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for line in ("2 chats without an answer", "1 chats with an empty question", "1 last turns that nobody answers"):
        assert f"left out: {line}" in printed
    assert sum(json.loads((out / "corpus.json").read_text())["left_out"].values()) == 4
    kept = {row["id"]: [turn["value"] for turn in row["conversations"]] for row in rows(out / "train.jsonl")}
    assert kept == {"0": ["Hi.", "Hello."], "3": ["One?", "", "Two?", "2."], "4": ["Hi.", "Hello."],
                    "6": ["Hi.", "Hello."]}  # fmt: skip
    assert main(["data", "lint", str(out / "train.jsonl"), "--processes=1"]) == 0
    assert "train.jsonl:2: warning: empty answer" in capsys.readouterr().out
    (tmp_path / "tulu" / "train.jsonl").write_text(f"{lines[0]}\n\n{lines[0][:-5]}\n")
    assert main(command) == 2
    assert "train.jsonl:3: broken JSON" in capsys.readouterr().err


def test_lines_end_where_files_end_them(tmp_path, clips):
    from nemo_vtb.data.corpora.rows import lines_of, table

    path = tmp_path / "t.tsv"
    path.write_bytes("\ufeffid\ttext\n1\tone\u2028two\x85\x0c\n2\tthree".encode())
    assert [row for _, row in table(path)] == [
        {"id": "1", "text": "one\u2028two\x85\x0c"},
        {"id": "2", "text": "three"},
    ]
    path.write_bytes(b"a\n\nb\n\n")
    assert lines_of(path) == ["a", "", "b", ""]


def test_clips_of_several_rates_are_not_joined(tmp_path, clips, capsys):
    import numpy as np
    import soundfile

    (tmp_path / "copy").mkdir()
    ALL["spoken_squad"](tmp_path / "copy", clips)
    for number, wav in enumerate(sorted((tmp_path / "copy").rglob("*.wav"))):
        soundfile.write(wav, np.zeros(8000), (8000, 16_000)[number % 2])
    command = ["data", "prepare", "spoken_squad", "--from", str(tmp_path / "copy"), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "several sampling rates: [8000, 16000] Hz" in capsys.readouterr().err
