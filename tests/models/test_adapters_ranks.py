"""Adapters beyond plain LoRA on two real ranks: DDP and FSDP2 train alike, and a run goes on where it stopped."""

import json
from pathlib import Path

import pytest
from ranks import run_ranks
from tiny_training import go_back, recorded, train

ADAPTERS = {
    "DoRA": {"lora": {"use_dora": True}},
    "PiSSA, a norm and the encoder": {
        "lora": {"init_lora_weights": "pissa", "modules_to_save": ["norm"]},
        "encoder_lora": {"r": 2, "lora_alpha": 4},
    },
}


def losses(folder: Path, log: str) -> list[float]:
    return [float.fromhex(row["loss"]) for row in recorded(folder, log, 0)]


@pytest.mark.parametrize("name", ADAPTERS)
def test_ddp_and_fsdp2_train_alike_and_resume(name: str, run_folder: Path):
    path = run_folder / "config.json"
    cfg = json.loads(path.read_text())
    more = ADAPTERS[name]
    cfg["model"]["lora"] |= {"lora_dropout": 0.0} | more["lora"]
    cfg["model"]["perception"]["modality_adapter"]["dropout"] = 0.0
    cfg["model"] |= {key: value for key, value in more.items() if key != "lora"}
    path.write_text(json.dumps(cfg))
    assert run_ranks(train, run_folder, "ddp", strategy="ddp", steps=4, every=10) == [0, 0]
    assert run_ranks(train, run_folder, "sharded", strategy="vtb_fsdp2", steps=4, every=2, keep=2) == [0, 0]
    assert losses(run_folder, "sharded") == pytest.approx(losses(run_folder, "ddp"), rel=1e-4)
    go_back(run_folder)
    assert run_ranks(train, run_folder, "second", strategy="vtb_fsdp2", steps=4, every=2, resume=True) == [0, 0]
    assert losses(run_folder, "second") == losses(run_folder, "sharded")[2:]
