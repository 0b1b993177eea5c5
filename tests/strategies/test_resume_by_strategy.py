"""2k steps are k steps, kill -9, and k more: the same losses, bit for bit, over the same samples."""

from pathlib import Path

import pytest
from ranks import run_ranks
from tiny_training import CHECKPOINT, recorded, train

K = 3


@pytest.mark.parametrize("strategy", ["ddp", "vtb_fsdp2"])
def test_two_k_steps_are_k_and_kill_and_k(strategy: str, run_folder: Path):
    assert run_ranks(train, run_folder, "whole", strategy, 2 * K, K) == [0, 0]
    (run_folder / CHECKPOINT).unlink()
    assert run_ranks(train, run_folder, "first", strategy, 2 * K, K, kill_before=K + 2) == [-9, -9]
    assert run_ranks(train, run_folder, "second", strategy, 2 * K, K, resume=True) == [0, 0]
    for rank in (0, 1):
        whole = recorded(run_folder, "whole", rank)
        assert [row["step"] for row in whole] == list(range(1, 2 * K + 1))
        assert recorded(run_folder, "first", rank) == whole[: K + 1]
        assert recorded(run_folder, "second", rank) == whole[K:]


def test_accumulated_gradients_keep_their_phase(run_folder: Path):
    options = {"strategy": "ddp", "devices": 1, "accumulate_grad_batches": 2, "ranks": 1}
    assert run_ranks(train, run_folder, "whole", steps=2 * K, every=K, **options) == [0]
    (run_folder / CHECKPOINT).unlink()
    assert run_ranks(train, run_folder, "first", steps=2 * K, every=K, kill_before=K + 2, **options) == [-9]
    assert run_ranks(train, run_folder, "second", steps=2 * K, every=K, resume=True, **options) == [0]
    assert recorded(run_folder, "second", 0) == recorded(run_folder, "whole", 0)[2 * K :]
