"""Keys of an entry that would be obeyed in another way than they read, or not at all, are refused by their names."""

import json

import numpy as np
import pytest
import soundfile

from nemo_vtb.data.options import check_train_section
from nemo_vtb.data.sources.source import Reading, read_sources
from nemo_vtb.errors import VTBError


@pytest.fixture
def opened(tmp_path):
    """Opens an entry of one row, whose file is m.jsonl in a folder."""
    soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.1), 16_000)
    for name in ("m.jsonl", "n.jsonl", "all*.jsonl"):
        (tmp_path / name).write_text(json.dumps({"audio_filepath": "a.wav", "text": "hi"}) + "\n")

    def opened(file="m.jsonl", **keys):
        named = {} if file is None else {"manifest_filepath": f"{tmp_path}/{file}"}
        entry = {"type": "nemo", **named, **keys}
        entry = {key: value(tmp_path) if callable(value) else value for key, value in entry.items()}
        return [
            source for source in read_sources([entry], "asr", Reading("<|audio|>", 0.08)) for _ in range(len(source))
        ]

    return opened


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"file": "*.jsonl"}, r"\* stands for nothing here: list the files"),
        ({"file": None, "manifest_filepath": "pipe:cat m.jsonl"}, "is a command"),
        ({"type": "nemo_tarred", "tarred_audio_filepaths": "pipe:cat a.tar"}, "is a command"),
        ({"cuts_path": "cuts.jsonl"}, "reads manifest_filepath or cuts_path: make an entry of each"),
        ({"file": None, "type": "lhotse", "cuts_path": "c.jsonl", "shar_path": "shar"}, "reads cuts_path or shar_path"),
        ({"audio_root": "nowhere"}, "audio_root nowhere: no such folder"),
        ({"file": None, "type": "lhotse_shar", "shar_path": "nowhere"}, "shar_path nowhere is no folder"),
        ({"tags": {"system_prompt": 5}}, r"tags\.system_prompt is 5"),
        ({"tags": {"context": ["a"]}}, r"tags\.context is \['a'\]"),
        ({"file": None, "manifest_filepath": [["m.jsonl", "2"], ["n.jsonl", "1"]]}, r"input_cfg\.weight is '2'"),
        ({"prompts": "/nowhere/pool.yaml"}, "shipped ones: default, quickstart, unseen"),
    ],
)
def test_it_is_refused_by_its_name(opened, keys, said):
    with pytest.raises(VTBError, match=said):
        opened(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"file": "all*.jsonl"},
        {"file": None, "manifest_filepath": lambda folder: f"file://{folder}/m.jsonl"},
        {"audio_root": str},
        {"tags": {"system_prompt": None, "context": None, "lang": None}},
    ],
)
def test_what_says_something_or_nothing_is_obeyed(opened, keys):
    (source,) = opened(**keys)
    assert [turn.role for turn in source.draw(0, 0).turns] == ["user", "user", "assistant"]


@pytest.mark.parametrize("temperature", [-1.0, [1.0, -1.0]])
def test_no_temperature_is_below_zero(temperature):
    kinds = {"asr": {"share": 1.0, "reweight_temperature": temperature, "input_cfg": []}}
    with pytest.raises(VTBError, match=r"asr\.reweight_temperature is .*; it is float of at least 0"):
        check_train_section({"blend": {"kinds": kinds}})


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["data/train-00000-of-00002.parquet", "data/test-00000-of-00001.parquet", "data/other-0.parquet"], True),
        (["en/train/0000.parquet", "en/validation/0000.parquet"], True),
        (["train.parquet", "test.parquet"], True),
        (["en/train-0.parquet", "de/train-0.parquet", "part-2.parquet"], False),
        (["trainer.parquet", "testimony.parquet"], False),
    ],
)
def test_a_folder_of_several_splits_asks_for_one(tmp_path, names, splits):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.1), 16_000)
    for name in names:
        (tmp_path / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"audio": [f"{tmp_path}/a.wav"], "text": ["hi"]}), tmp_path / "hub" / name)
    entry = {"type": "parquet", "manifest_filepath": f"{tmp_path}/hub"}
    if splits:
        with pytest.raises(VTBError, match=r"holds several splits, (test|train) .*: name the files of one"):
            read_sources([entry], "asr", Reading("<|audio|>", 0.08))
    else:
        (source,) = read_sources([entry], "asr", Reading("<|audio|>", 0.08))
        assert len(source) == len(names)


def test_a_saved_selection_of_rows_is_not_read_as_the_whole(tmp_path):
    (tmp_path / "data.arrow").touch()
    files = {"_data_files": [{"filename": "data.arrow"}], "_indices_data_files": [{"filename": "indices.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(files))
    with pytest.raises(VTBError, match=r"state\.json selects rows of its files"):
        read_sources([{"type": "parquet", "manifest_filepath": str(tmp_path)}], "asr", Reading("<|audio|>", 0.08))
