"""Stock SALMDataset cannot collate ``nemo_sft_jsonl``: it returns None, and the batch before is trained on again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_ANSWERS = ["Paris.", "Rome, since 1871.", "Madrid."]


@pytest.fixture(scope="module")
def sft_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "system": "",
            "mask": "User",
            "conversations": [
                {"from": "User", "value": f"Capital number {number}?"},
                {"from": "Assistant", "value": answer},
            ],
        }
        for number, answer in enumerate(_ANSWERS)
    ]
    path = tmp_path_factory.mktemp("sft") / "chat.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_stock_repeats_the_previous_batch_instead(sft_file: Path, tokenizer: Any, conversation: Callable):
    from lhotse import CutSet
    from nemo.collections.common.data.fallback import FallbackDataset
    from nemo.collections.common.data.lhotse.text_adapters import NeMoSFTJsonlAdapter
    from nemo.collections.common.prompts import PromptFormatter
    from nemo.collections.speechlm2.data import SALMDataset

    examples = CutSet(list(NeMoSFTJsonlAdapter(str(sft_file))))
    assert SALMDataset(tokenizer)[examples] is None

    earlier = conversation("earlier", ("user", "Hi."), ("assistant", "Hello!"))
    earlier.apply_prompt_format(PromptFormatter.resolve("qwen")(tokenizer))
    loaded = FallbackDataset(SALMDataset(tokenizer))
    first = loaded[CutSet([earlier])]
    assert [c.id for c in first["conversations"]] == ["earlier"]
    assert loaded[examples] is first


def test_ours_delivers_every_example(sft_file: Path, tokenizer: Any):
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.sources.source import read_source

    source = read_source({"type": "nemo_sft_jsonl", "paths": str(sft_file)}, "text", "<|audio|>", 0.08)
    batch = VTBDataset(tokenizer, "qwen")[[source.draw(index, 0) for index in range(len(source))]]
    learned = [tokenizer.ids_to_text(e.input_ids[e.loss_mask].tolist(), False) for e in batch["encoded"]]
    assert learned == [f"{answer}<|im_end|>" for answer in _ANSWERS]
    assert batch["kinds"] == ["text"] * len(_ANSWERS)
    assert batch["input_ids"].shape[0] == batch["loss_mask"].shape[0] == len(_ANSWERS)


def test_ours_refuses_what_it_cannot_collate_instead_of_repeating(sft_file: Path, tokenizer: Any):
    from nemo.collections.common.data.lhotse.text_adapters import NeMoSFTJsonlAdapter

    from nemo_vtb.data.dataset import VTBDataset

    with pytest.raises(Exception):
        VTBDataset(tokenizer, "qwen")[list(NeMoSFTJsonlAdapter(str(sft_file)))]
