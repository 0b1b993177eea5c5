"""Without ``data.validation_ds`` NeMo's DataModule returns None where Lightning 2.4 wants a loader, and fit fails."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf


@pytest.fixture(scope="module")
def manifest(clips: list[SimpleNamespace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "id": clip.path.stem,
            "conversations": [
                {"from": "User", "type": "audio", "value": str(clip.path), "duration": clip.duration},
                {"from": "Assistant", "type": "text", "value": clip.text},
            ],
        }
        for clip in clips
    ]
    path = tmp_path_factory.mktemp("fit") / "speech.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    from lightning.pytorch import Trainer

    return Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=1,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _data(**train_ds: Any) -> DictConfig:
    common = {
        "sample_rate": 16000,
        "prompt_format": "qwen",
        "token_equivalent_duration": 0.08,
        "audio_locator_tag": "<|audio|>",
        "seed": 0,
        "num_workers": 0,
    }
    return OmegaConf.create({"train_ds": {**common, **train_ds}})


def test_stock_fit_fails(manifest: Path, tiny_cfg: Callable, trainer: Any):
    from nemo.collections.speechlm2.data import DataModule, SALMDataset
    from nemo.collections.speechlm2.models import SALM

    model = SALM(tiny_cfg())
    entry = {"type": "multimodal_conversation", "manifest_filepath": str(manifest)}
    data = _data(input_cfg=[entry], batch_size=2, shuffle=False, shard_seed="randomized", force_map_dataset=True)
    module = DataModule(data, model.tokenizer, SALMDataset(model.tokenizer))
    assert module.val_dataloader() is None
    with pytest.raises(TypeError):
        trainer.fit(model, module)
    assert trainer.global_step == 0


def test_ours_fits(manifest: Path, tiny_cfg: Callable, trainer: Any):
    from nemo_vtb import VoiceTextBlender, VTBDataModule, VTBDataset

    model = VoiceTextBlender(tiny_cfg("vtb"))
    entry = {"type": "multimodal_conversation", "manifest_filepath": str(manifest)}
    data = _data(blend={"kinds": {"asr": {"share": 1.0, "input_cfg": [entry]}}}, batch_tokens=64)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer.fit(model, VTBDataModule(data, model.tokenizer, VTBDataset(model.tokenizer)))
    assert trainer.global_step == 1
    changed = {name for name, p in model.named_parameters() if not p.equal(before[name])}
    assert changed and changed <= set(model.trainable_names)
