"""An LLM that two ranks read in shards is the one they would have loaded whole."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from ranks import run_ranks
from tiny_training import recorded, train

from nemo_vtb.modules.llm.waiting import is_waiting
from nemo_vtb.strategies.sharded import ShardedStrategy


class Keep(Callback):
    """Writes down the model that training begins with: every tensor whole, and what was found out about it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Any, model: Any) -> None:
        tensors = {
            name: tensor.detach().full_tensor() if hasattr(tensor, "full_tensor") else tensor.detach().clone()
            for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
        }
        proof = model.proof and {"packing": model.proof.packing, "head": model.proof.head, "pads": model.proof.pads}
        torch.save({"tensors": tensors, "frozen": model.frozen_fingerprints, "proof": proof}, self.path)


def as_rank(folder: Path, name: str, wait: bool) -> None:
    def check(model: Any) -> None:
        assert is_waiting(model.llm) is wait

    # What NeMo's launcher builds its model in.
    with ShardedStrategy().tensor_init_context() if wait else nullcontext():
        train(folder, name, "vtb_fsdp2", steps=1, every=100, more=(Keep(folder / f"{name}.pt"),), prepare=check)


@pytest.mark.parametrize(
    ("family", "fields", "model"),
    [
        ("gemma3_text", {"tie_word_embeddings": False}, {"lora": None, "freeze_params": []}),
        ("mixtral", {"tie_word_embeddings": True}, {"llm_dtype": "bfloat16"}),
    ],
)
def test_shards_hold_what_was_loaded_whole(
    run_folder: Path, tmp_path_factory: pytest.TempPathFactory, family: str, fields: dict, model: dict
):
    from support.families import LLMS
    from support.tiny import llm_folder

    cfg = json.loads((run_folder / "config.json").read_text())
    llm = llm_folder(tmp_path_factory.mktemp(family) / "llm", family, LLMS[family]["fields"] | fields)
    cfg["model"] |= {"pretrained_llm": str(llm)} | model
    (run_folder / "config.json").write_text(json.dumps(cfg))
    for name, wait in (("whole", False), ("shards", True)):
        assert run_ranks(as_rank, run_folder, name, wait) == [0, 0]
    whole, shards = (torch.load(run_folder / f"{name}.pt", weights_only=False) for name in ("whole", "shards"))
    assert shards["tensors"].keys() == whole["tensors"].keys()
    for name, tensor in whole["tensors"].items():
        assert shards["tensors"][name].dtype == tensor.dtype and torch.equal(shards["tensors"][name], tensor), name
    assert shards["frozen"] == whole["frozen"] and shards["proof"] == whole["proof"] is not None
    for rank in (0, 1):
        assert recorded(run_folder, "shards", rank) == recorded(run_folder, "whole", rank)
