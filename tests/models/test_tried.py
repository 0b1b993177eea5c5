"""What trying out an LLM has found is taken from an earlier start only where nothing could have changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from nemo_vtb.models import tried

FAMILY = "granite"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tried, "cache_root", lambda: tmp_path)
    return tmp_path / "tried"


def test_a_second_start_takes_what_the_first_has_found(kept: Path, build_family: Any):
    first, _ = build_family(FAMILY)

    def again() -> Any:
        return type(first)(dict(first.hparams["cfg"])).eval()

    (file,) = kept.iterdir()
    assert tried.trial_of(first) == file and json.loads(file.read_text())["packing"] == first.proof.packing
    # Told from the first by what it says: that it found another way.
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "packing": "apart", "embed_factor": 3.0, "pads": False})
    )
    second = again()
    assert (second.backbone.packing, second.backbone.embed_factor, second.backbone.pads) == ("apart", 3.0, False)
    file.write_text("damaged")
    third = again()
    assert third.proof.packing == first.proof.packing and json.loads(file.read_text())["packing"] == "rows"


def test_another_llm_or_other_code_is_another_trial(kept: Path, build_family: Any, monkeypatch: pytest.MonkeyPatch):
    model, _ = build_family(FAMILY)
    file = tried.trial_of(model)
    for name, value in (("_digest", lambda path: "other"), ("_device", lambda device: "other")):
        with monkeypatch.context() as other:
            other.setattr(tried, name, value)
            assert tried.trial_of(model) not in (None, file)
    model.frozen_fingerprints["llm"] = "other"
    assert tried.trial_of(model) not in (None, file)
    next(iter(model.llm.parameters())).requires_grad_(True)
    assert tried.trial_of(model) is None
