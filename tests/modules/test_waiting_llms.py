"""LLMs whose weights wait in their files are those that Transformers loads whole."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from nemo_vtb.modules.build import build_llm
from nemo_vtb.modules.llm.waiting import is_waiting, stand_ins, waiting, weights_may_wait

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Any]:
    """Builds an LLM of a family, its weights waiting or not."""
    from support.families import LLMS
    from support.tiny import llm_folder

    def build(family: str, wait: bool, **cfg: Any) -> Any:
        folder = tmp_path / family
        if not folder.exists():
            llm_folder(folder, family, LLMS[family]["fields"], LLMS[family]["without"])
        with weights_may_wait(wait):
            return build_llm(OmegaConf.create({"pretrained_llm": str(folder), "llm_dtype": "bfloat16"} | cfg))

    return build


# Buffers that its body makes for its layers; a larger model around it, whose head has a factor that the text model's
# own class leaves out; experts in one tensor each in the file; weights that stand under other names.
@pytest.mark.parametrize("family", ["falcon_h1", "aya_vision", "deepseek_v3", "gpt2"])
def test_weights_and_buffers_are_those_that_are_loaded_whole(built: Callable[..., Any], family: str):
    whole, waits = built(family, False), built(family, True)
    assert type(waits) is type(whole) and not is_waiting(whole)
    sources, expected = waiting(waits), dict(whole.named_parameters())
    assert sources.keys() == expected.keys()
    for name, parameter in expected.items():
        assert sources[name].whole().dtype == parameter.dtype and torch.equal(sources[name].whole(), parameter), name
        assert torch.equal(sources[name].rows(1, 2), parameter[1:3]), name
    made = dict(waits.named_buffers())
    for name, buffer in whole.named_buffers():
        assert made[name].dtype == buffer.dtype and torch.equal(made[name], buffer), name


def test_what_is_made_beside_them_is_on_the_host(built: Callable[..., Any]):
    llm = built("llama", True)
    before = dict(llm.named_parameters())
    with stand_ins(llm):
        assert all(parameter.device.type == "cpu" for parameter in llm.parameters())
        llm.requires_grad_(False)
    assert all(parameter is before[name] and parameter.is_meta for name, parameter in llm.named_parameters())
    assert is_waiting(llm) and not any(parameter.requires_grad for parameter in llm.parameters())


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"use_dora": True}, r"model\.lora\.use_dora=True needs them whole"),
        ({"init_lora_weights": "pissa"}, r"init_lora_weights=pissa needs them whole"),
    ],
)
def test_where_they_cannot_wait_the_llm_is_loaded_whole_and_that_is_said(
    built: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, lora: dict[str, Any], said: str
):
    from nemo.utils import logging

    warnings: list[str] = []
    monkeypatch.setattr(logging, "warning", warnings.append)
    assert not is_waiting(built("llama", True, lora=lora))
    assert len(warnings) == 1 and re.search(said, warnings[0])
