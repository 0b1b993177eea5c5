"""NeMo's way to weigh the files of one entry: ``[[path, weight], ...]``."""

import json
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
    apart = weights_apart({**weighed, "tarred_audio_filepaths": [["a.tar"], ["b.tar"]]})
    assert [entry["tarred_audio_filepaths"] for entry in apart["input_cfg"]] == [["a.tar"], ["b.tar"]]
    with pytest.raises(VTBError, match="weighs 2 files; tarred_audio_filepaths needs as many"):
        weights_apart({**weighed, "tarred_audio_filepaths": "all.tar"})


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
