"""Stock NeMo's training loader has no state: a resumed run trains on the batches of its beginning again."""

import json
from itertools import islice
from typing import Any

import pytest
from omegaconf import OmegaConf

_COMMON = {"prompt_format": "qwen", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08, "seed": 0}


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Forty chats."""
    path = tmp_path_factory.mktemp("resume") / "text.jsonl"
    turns = [{"from": "User", "type": "text", "value": "hi"}, {"from": "Assistant", "type": "text", "value": "hello"}]
    path.write_text("\n".join(json.dumps({"id": f"t{number}", "conversations": turns}) for number in range(40)))
    return str(path)


def _names(loader: Any, count: int) -> list[list[str]]:
    return [[conversation.id for conversation in batch["conversations"]] for batch in islice(loader, count)]


def _by_stock(chats: str, tokenizer: Any) -> Any:
    from nemo.collections.speechlm2.data import DataModule, SALMDataset

    entry = {"type": "multimodal_conversation", "manifest_filepath": chats, **_COMMON}
    section = {**_COMMON, "shard_seed": 0, "shuffle": True, "batch_size": 2, "input_cfg": [entry]}
    module = DataModule(OmegaConf.create({"train_ds": section}), tokenizer, SALMDataset(tokenizer))
    return module.train_dataloader()


def _by_ours(chats: str, tokenizer: Any) -> Any:
    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.data.dataset import VTBDataset

    kinds = {"text": {"share": 1, "input_cfg": [{"manifest_filepath": chats}]}}
    section = {**_COMMON, "batch_tokens": 64, "blend": {"kinds": kinds}}
    return VTBDataModule(OmegaConf.create({"train_ds": section}), tokenizer, VTBDataset(tokenizer)).train_dataloader()


def test_stock_begins_again(chats: str, tokenizer: Any):
    first = _by_stock(chats, tokenizer)
    before = _names(first, 5)
    resumed = _by_stock(chats, tokenizer)
    state = first.state_dict()
    assert state == {}
    resumed.load_state_dict(state)
    assert _names(resumed, 5) == before


def test_ours_goes_on(chats: str, tokenizer: Any):
    expected = _names(_by_ours(chats, tokenizer), 10)
    first = _by_ours(chats, tokenizer)
    assert _names(first, 5) == expected[:5]
    resumed = _by_ours(chats, tokenizer)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert _names(resumed, 5) == expected[5:]
    drawn = [name for batch in expected for name in batch]
    assert len(set(drawn[:40])) == min(40, len(drawn))
