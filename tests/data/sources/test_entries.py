"""``input_cfg``: a list of entries, or a YAML file of them, at every level; what is none is refused by its key."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nemo_vtb.data.files.entries import kind_entries
from nemo_vtb.data.sources.source import Reading, read_sources
from nemo_vtb.errors import VTBError

ENTRY = {"type": "nemo", "manifest_filepath": "a.jsonl"}


def entries_of(given: Any) -> list[dict[str, Any]]:
    return kind_entries(OmegaConf.create({"asr": {"input_cfg": given}}), "asr", "blend.kinds")


def test_a_file_of_entries_may_stand_for_those_of_a_group_too(tmp_path: Path):
    (tmp_path / "inner.yaml").write_text(OmegaConf.to_yaml([ENTRY]))
    (tmp_path / "outer.yaml").write_text(
        OmegaConf.to_yaml([{"type": "group", "input_cfg": str(tmp_path / "inner.yaml")}])
    )
    for given in (str(tmp_path / "outer.yaml"), [{"type": "group", "input_cfg": str(tmp_path / "inner.yaml")}]):
        assert entries_of(given) == [{"type": "group", "input_cfg": [ENTRY]}]


@pytest.mark.parametrize("given", [ENTRY, ["a.jsonl"], [{"type": "group", "input_cfg": ENTRY}]], ids=str)
def test_what_is_no_list_of_entries_is_refused_by_its_key(given: Any, tmp_path: Path):
    with pytest.raises(VTBError, match=r"^blend\.kinds\.asr\.input_cfg.* has to be a list of entries, such as \["):
        entries_of(given)
    (tmp_path / "own.yaml").write_text(OmegaConf.to_yaml(given))
    with pytest.raises(VTBError, match=r"the file .*own\.yaml,.* has to be a list of entries"):
        entries_of(str(tmp_path / "own.yaml"))


def test_a_whole_config_in_its_place_is_not_repeated_at_length():
    with pytest.raises(VTBError) as refused:
        entries_of({f"key_{number}": number for number in range(500)})
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("entry", "needs"),
    [
        ({"type": "nemo", "manifest_filepath": []}, "manifest_filepath"),
        ({"type": "nemo", "manifest_filepath": [[]]}, "manifest_filepath"),
        ({"type": "nemo", "manifest_filepath": [["a.jsonl", 0.5, 1]]}, "0.5 is no path"),
        ({"type": "lhotse", "cuts_path": []}, "cuts_path"),
        ({"type": "lhotse_shar", "shar_path": []}, "0 files of cuts"),
        ({"type": "share_gpt_webdataset", "data_dir": []}, "data_dir"),
    ],
    ids=lambda given: str(given),
)
def test_an_entry_that_names_no_file_is_refused(entry: dict[str, Any], needs: str):
    with pytest.raises(VTBError, match=needs):
        read_sources(entries_of([entry]), "asr", Reading("<|audio|>", 0.08))
