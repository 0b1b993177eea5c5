"""`type: vtb_blend` in NeMo's own loader, with stock SALM's dataset."""

import json
from itertools import islice

import pytest
from omegaconf import OmegaConf

from nemo_vtb.data.data_types import read_vtb_blend
from nemo_vtb.errors import VTBError


@pytest.fixture
def section(tmp_path):
    def chats(name):
        path = tmp_path / f"{name}.jsonl"
        turns = [{"from": "User", "value": "hi"}, {"from": "Assistant", "value": "hello"}]
        path.write_text("\n".join(json.dumps({"id": f"{name}{n}", "conversations": turns}) for n in range(40)))
        return [{"type": "multimodal_conversation", "manifest_filepath": str(path)}]

    kinds = {"text": {"share": 0.75, "input_cfg": chats("t")}, "mixed": {"share": 0.25, "input_cfg": chats("m")}}
    return {
        "type": "vtb_blend",
        "audio_locator_tag": "<|audio|>",
        "token_equivalent_duration": 0.08,
        "blend": {"kinds": kinds},
    }


def test_stock_salm_reads_a_blend(section, tokenizer):
    from nemo.collections.common.data.lhotse import get_lhotse_dataloader_from_config
    from nemo.collections.speechlm2.data import SALMDataset

    config = {"seed": 0, "shard_seed": 0, "batch_size": 4, "prompt_format": "qwen", "input_cfg": [section]}
    loader = get_lhotse_dataloader_from_config(OmegaConf.create(config), 0, 1, SALMDataset(tokenizer), tokenizer)
    names = [c.id[0] for batch in islice(loader, 10) for c in batch["conversations"]]
    assert names.count("t") == 30 and names.count("m") == 10


def test_ranks_get_different_conversations(section, monkeypatch):
    drawn = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        cuts, splits_itself = read_vtb_blend(OmegaConf.create(section))
        assert splits_itself
        drawn += [conversation.id for conversation in islice(cuts, 20)]
    assert len(set(drawn)) == 40


def test_a_missing_key_is_named(section):
    del section["token_equivalent_duration"]
    with pytest.raises(VTBError, match="missing config key token_equivalent_duration"):
        read_vtb_blend(OmegaConf.create(section))
