"""A single plain manifest ends after one epoch while text repeats for ever: then stock NeMo trains on text alone."""

import json
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

_COMMON = {"prompt_format": "qwen", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}


@pytest.fixture(scope="module")
def files(clips: list[SimpleNamespace], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Four utterances and four chats."""
    folder = tmp_path_factory.mktemp("finite")
    speech = [
        {"audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "sampling_rate": 16000}
        for clip in clips
    ]
    turns = [{"from": "User", "type": "text", "value": "hi"}, {"from": "Assistant", "type": "text", "value": "hello"}]
    chats = [{"id": f"t{number}", "conversations": turns} for number in range(4)]
    (folder / "asr.jsonl").write_text("\n".join(map(json.dumps, speech)))
    (folder / "text.jsonl").write_text("\n".join(map(json.dumps, chats)))
    return SimpleNamespace(asr=str(folder / "asr.jsonl"), text=str(folder / "text.jsonl"))


def test_stock_runs_out_of_audio_and_goes_on_with_text(files: SimpleNamespace, tokenizer: Any):
    from nemo.collections.common.data.fallback import FallbackDataset
    from nemo.collections.common.data.lhotse import get_lhotse_dataloader_from_config
    from nemo.collections.speechlm2.data import SALMDataset

    batching = {**_COMMON, "batch_size": 1, "force_map_dataset": True}
    manifest = {"type": "nemo", "manifest_filepath": files.asr}
    asr = {"type": "lhotse_as_conversation", "input_cfg": [manifest], **_COMMON}
    text = {"type": "multimodal_conversation", "manifest_filepath": files.text, **_COMMON}
    config = {
        "multi_config": True,
        "seed": 0,
        "shard_seed": 0,
        "shuffle": True,
        "sampler_fusion": "randomized_round_robin",
        "sampler_weights": {"asr": 0.7, "text": 0.3},
        "asr": {"input_cfg": [asr], **batching},
        "text": {"input_cfg": [text], **batching},
    }
    loader = get_lhotse_dataloader_from_config(
        OmegaConf.create(config), 0, 1, FallbackDataset(SALMDataset(tokenizer)), tokenizer
    )
    has_audio = [batch["audio_lens"].numel() > 0 for batch in islice(loader, 60)]
    assert sum(has_audio) == 4 and not any(has_audio[20:])


def test_ours_repeats_what_is_short_and_keeps_the_shares(files: SimpleNamespace, tokenizer: Any):
    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.data.dataset import VTBDataset

    kinds = {
        "asr": {"share": 0.7, "input_cfg": [{"type": "nemo", "manifest_filepath": files.asr}]},
        "text": {"share": 0.3, "input_cfg": [{"manifest_filepath": files.text}]},
    }
    section = {**_COMMON, "batch_tokens": 200, "blend": {"unit": "examples", "kinds": kinds}}
    module = VTBDataModule(OmegaConf.create({"train_ds": section}), tokenizer, VTBDataset(tokenizer))
    drawn = [kind for batch in islice(module.train_dataloader(), 60) for kind in batch["kinds"]]
    assert drawn.count("asr") / len(drawn) == pytest.approx(0.7, abs=0.01)
    assert "asr" in drawn[-5:] and len(drawn) > 100
