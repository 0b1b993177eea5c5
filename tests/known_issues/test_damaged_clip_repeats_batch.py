"""Stock NeMo drops conversations with damaged clips uncounted, and repeats the batch before where none is left."""

import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
from omegaconf import OmegaConf

_COMMON = {"prompt_format": "qwen", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}


@pytest.fixture
def manifest(clips: list[SimpleNamespace], tmp_path: Path) -> Path:
    """Eight conversations, one clip each; the clips are copies that may be damaged."""
    rows = []
    for number in range(8):
        clip = clips[number % len(clips)]
        path = tmp_path / f"clip{number}.flac"
        soundfile.write(path, *soundfile.read(clip.path))
        turns = [
            {"from": "User", "type": "audio", "value": str(path), "duration": clip.duration},
            {"from": "Assistant", "type": "text", "value": clip.text},
        ]
        rows.append({"id": f"c{number}", "conversations": turns})
    file = tmp_path / "manifest.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def _damage(clip: Path) -> None:
    """Keeps the header, so that the file still says how long it is, and loses half of the sound."""
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])


def _names(loader: Any, count: int) -> list[list[str]]:
    batches = islice(loader, count)
    return [[conversation.id.split("_")[0] for conversation in batch["conversations"]] for batch in batches]


def test_stock_repeats_the_batch_before(manifest: Path, tokenizer: Any):
    from nemo.collections.common.data.fallback import FallbackDataset
    from nemo.collections.common.data.lhotse import get_lhotse_dataloader_from_config
    from nemo.collections.speechlm2.data import SALMDataset

    def names() -> list[list[str]]:
        entry = {"type": "multimodal_conversation", "manifest_filepath": str(manifest), **_COMMON}
        config = OmegaConf.create({**_COMMON, "seed": 0, "shard_seed": 0, "batch_size": 2, "input_cfg": [entry]})
        dataset = FallbackDataset(SALMDataset(tokenizer))
        return _names(get_lhotse_dataloader_from_config(config, 0, 1, dataset, tokenizer), 4)

    assert names() == [["c0", "c1"], ["c2", "c3"], ["c4", "c5"], ["c6", "c7"]]
    _damage(manifest.parent / "clip4.flac")
    assert names() == [["c0", "c1"], ["c2", "c3"], ["c5"], ["c6", "c7"]]
    _damage(manifest.parent / "clip5.flac")
    assert names() == [["c0", "c1"], ["c2", "c3"], ["c2", "c3"], ["c6", "c7"]]


def test_ours_leaves_out_the_damaged_clip_alone_and_counts_it(manifest: Path, tokenizer: Any):
    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.data.dataset import VTBDataset

    kinds = {"asr": {"share": 1, "input_cfg": [{"manifest_filepath": str(manifest)}]}}
    section = {**_COMMON, "batch_tokens": 64, "max_bad_share": 0.2, "blend": {"kinds": kinds}}
    module = VTBDataModule(OmegaConf.create({"train_ds": section}), tokenizer, VTBDataset(tokenizer))
    whole = _names(module.train_dataloader(), 6)
    loader = module.train_dataloader()
    _damage(manifest.parent / "clip4.flac")
    assert _names(loader, 6) == [[name for name in batch if name != "c4"] for batch in whole]
    assert sum(loader.dropped.values()) >= 1
