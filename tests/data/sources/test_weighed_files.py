"""NeMo's way to weigh the files of one entry: ``[[path, weight], ...]``."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nemo_vtb.data.files.entries import kind_entries, weights_apart
from nemo_vtb.data.inspection.trained_on import trained_on
from nemo_vtb.data.sources.source import Reading, read_sources
from nemo_vtb.errors import VTBError


@pytest.fixture
def manifests(tmp_path: Path, clips: list[Any]) -> list[str]:
    """Two manifests of one and of two clips, in folders of their own, one of which states a licence."""
    paths = []
    for number, part in enumerate((clips[:1], clips[1:3])):
        folder = tmp_path / f"part{number}"
        folder.mkdir()
        rows = [{"audio_filepath": str(c.path), "duration": c.duration, "text": c.text, "lang": "en"} for c in part]
        (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        paths.append(str(folder / "manifest.jsonl"))
    (tmp_path / "part1" / "README.md").write_text("---\nlicense: mit\n---\n")
    return paths


def opened(entry: dict[str, Any], **others: Any) -> list[tuple[int, float]]:
    kinds = OmegaConf.create({"asr": {"input_cfg": [entry, *others.values()]}})
    sources = read_sources(kind_entries(kinds, "asr", "kinds"), "asr", Reading("<|audio|>", 0.08))
    return [(len(source), round(source.weight, 6)) for source in sources]


def test_each_file_has_its_weight_within_the_weight_of_the_entry(manifests: list[str]):
    weighed = {"type": "nemo", "manifest_filepath": [[manifests[0], 3], [manifests[1], 1.0]]}
    assert opened(weighed) == [(1, 0.75), (2, 0.25)]
    other = {"type": "nemo", "manifest_filepath": manifests[1], "weight": 2}
    assert opened({**weighed, "weight": 2}, other=other) == [(1, 0.375), (2, 0.125), (2, 0.5)]
    assert opened({"type": "group", "input_cfg": [weighed]}) == [(1, 0.75), (2, 0.25)]
    assert opened({"type": "nemo", "manifest_filepath": [[manifests[0]], [manifests[1]]]}) == [(3, 1.0)], "buckets"


def test_the_tars_of_each_file_go_with_it(manifests: list[str]):
    weighed = {"type": "nemo_tarred", "manifest_filepath": [["a.json", 1], ["b.json", 2]]}
    apart = weights_apart({**weighed, "tarred_audio_filepaths": [["a.tar"], ["b.tar"]]}, "kinds.asr.input_cfg")
    assert [(entry["weight"], entry["tarred_audio_filepaths"]) for entry in apart] == [(1, ["a.tar"]), (2, ["b.tar"])]
    with pytest.raises(VTBError, match="manifest_filepath weighs 2 files; tarred_audio_filepaths needs as many"):
        weights_apart({**weighed, "tarred_audio_filepaths": "all.tar"}, "kinds.asr.input_cfg")


def test_the_temperature_is_for_the_weights_of_entries(manifests: list[str]):
    """As in NeMo, which mixes the files of an entry by the weights that stand beside them."""
    entries = [{"type": "nemo", "manifest_filepath": [[manifests[0], 3], [manifests[1], 1]], "weight": 9}]
    entries += [{"type": "nemo", "manifest_filepath": manifests[1], "weight": 1}]
    sources = read_sources(entries, "asr", Reading("<|audio|>", 0.08), [0.5])
    assert [round(source.weight, 6) for source in sources] == [0.5625, 0.1875, 0.25]


def test_the_documented_form_is_read_and_linted_by_the_commands(manifests: list[str], tmp_path: Path):
    """In fresh processes."""
    weighed = ",".join(f'["{path}",{weight}]' for path, weight in zip(manifests, (3, 1), strict=True))
    entry = f"data.train_ds.blend.kinds.asr.input_cfg=[{{type:nemo,manifest_filepath:[{weighed}]}}]"
    for command, says in (("preview", "<|im_end|>"), ("data lint --kind asr", "3 rows in 2 files: 0 errors")):
        line = ["vtb", *command.split(), "--config-name=quickstart", "~data.validation_ds", entry]
        ran = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0 and says in ran.stdout, ran.stderr[-2000:]


def test_the_bank_of_an_entry_is_a_source_too(manifests: list[str], tmp_path: Path):
    bank = tmp_path / "bank" / "bank.jsonl"
    bank.parent.mkdir()
    (bank.parent / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    entries = [{"manifest_filepath": manifests[1], "speak": {"bank": str(bank)}}]
    (section,) = trained_on({"kinds": {"mixed": {"share": 1, "input_cfg": entries}}})["kinds"].values()
    assert [source["licences"] for source in section["sources"]] == [["mit"], ["cc-by-4.0"]]


def test_some_files_with_a_weight_and_some_without_are_refused(manifests: list[str]):
    with pytest.raises(VTBError, match="give each file a weight, or none"):
        opened({"type": "nemo", "manifest_filepath": [[manifests[0], 3], manifests[1]]})


def test_each_file_is_a_source_on_the_model_card_and_a_folder_nobody_named_is_none(manifests: list[str]):
    entries = [{"manifest_filepath": [[manifests[0], 3], [manifests[1], 1]]}, {"shar_path": "s3://bucket/shar"}]
    (section,) = trained_on({"kinds": {"asr": {"share": 1, "input_cfg": entries}}})["kinds"].values()
    found = {source["name"]: source["licences"] for source in section["sources"]}
    assert found == {"part0/manifest.jsonl": [], "part1/manifest.jsonl": ["mit"], "bucket/shar": []}


def test_the_tars_of_a_folder_are_named_by_it(manifests: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(manifests[1]).parent)
    entry = {"type": "share_gpt_webdataset", "data_dir": str(Path(manifests[0]).parent)}
    (section,) = trained_on({"kinds": {"sqa": {"share": 1, "input_cfg": [entry]}}})["kinds"].values()
    assert [(source["name"].split("/")[-1], source["licences"]) for source in section["sources"]] == [("part0", [])]
