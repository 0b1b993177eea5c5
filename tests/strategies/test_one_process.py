"""One process trains in a notebook with any strategy; Lightning refuses there what launches others."""

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.connectors import accelerator_connector

from nemo_vtb.strategies.megatron import MegatronStrategy
from nemo_vtb.strategies.sharded import ShardedStrategy


@pytest.mark.parametrize("strategy", [MegatronStrategy, ShardedStrategy])
def test_a_notebook_has_a_trainer_of_one_process(strategy, monkeypatch):
    monkeypatch.setattr(accelerator_connector, "_IS_INTERACTIVE", True)
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    assert Trainer(strategy=strategy(), devices=1, **options).strategy.launcher is None
    with pytest.raises(Exception, match="interactive"):
        Trainer(strategy=strategy(), devices=2, **options)
