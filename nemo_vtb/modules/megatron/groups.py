"""The groups of ranks that megatron-core works in: one of tensor parallelism, the other of data parallelism."""

import os
from importlib.util import find_spec
from typing import Any

import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.ranks import share_batches
from nemo_vtb.start.deferred import whole


def require_megatron() -> None:
    """Refuses where megatron-core is not installed.

    Raises:
        VTBError: Says how to install it.
    """
    if find_spec("megatron") is None or find_spec("megatron.core") is None:
        raise VTBError("model.llm_backend=megatron needs megatron-core: pip install 'nemo-vtb[megatron]'")
    # What it registers with PyTorch's loading of checkpoints.
    whole("megatron.core")


def ensure_groups(size: int, sequence_parallel: bool = False) -> None:
    """Opens the groups for a model that is about to be built; a process on its own becomes a group of one.

    Args:
        size: Ranks that share an LLM; neighbours, so that they are on one node where that is possible.
        sequence_parallel: Whether the collectives of sequence parallelism will be used.

    Raises:
        VTBError: If the ranks are not there, or cannot be divided into groups of this size.
    """
    require_megatron()
    from megatron.core import parallel_state

    if not torch.distributed.is_initialized():
        _begin(size)
    ranks = torch.distributed.get_world_size()
    if ranks % size:
        raise VTBError(
            f"model.tensor_model_parallel_size={size} does not divide the {ranks} ranks of this run: change "
            "trainer.devices, trainer.num_nodes or the size"
        )
    if sequence_parallel and size > 1:
        _require_current_device()
    there = parallel_state.model_parallel_is_initialized()
    if there and parallel_state.get_tensor_model_parallel_world_size() != size:
        parallel_state.destroy_model_parallel()
    if not parallel_state.model_parallel_is_initialized():
        parallel_state.initialize_model_parallel(tensor_model_parallel_size=size)
    share_batches(size)


def tensor_group() -> Any:
    """The ranks that hold the parts of one LLM."""
    from megatron.core import parallel_state

    return parallel_state.get_tensor_model_parallel_group()


def data_group() -> Any:
    """The ranks that hold the same part and read other batches."""
    from megatron.core import parallel_state

    return parallel_state.get_data_parallel_group()


def tensor_rank() -> int:
    """Which part of the LLM this rank holds."""
    return tensor_group().rank()


def tensor_size() -> int:
    """Of how many."""
    return tensor_group().size()


def _begin(size: int) -> None:
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and "MASTER_ADDR" in os.environ:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        torch.distributed.init_process_group()
        return
    if size > 1:
        raise VTBError(
            f"model.tensor_model_parallel_size={size}, and this process has no others beside it: start it with "
            f"torchrun --nproc_per_node={size}, or train with `vtb train trainer.devices={size}`"
        )
    torch.distributed.init_process_group(store=torch.distributed.HashStore(), rank=0, world_size=1)


def _require_current_device() -> None:
    try:
        torch.cuda.current_device()
    except (AssertionError, RuntimeError) as error:
        raise VTBError(
            "model.sequence_parallel=true needs GPUs: megatron-core keeps the buffers of its collectives on the "
            "current CUDA device; leave it out here"
        ) from error
