"""FSDP2 over all ranks, or inside groups of them with replicas between (hybrid sharding)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.optim import Optimizer

from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.contents import check_checkpoint, check_state_dict
from nemo_vtb.modules.llm.waiting import weights_may_wait


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's FSDP2 strategy whose checkpoint is one file of what was trained, the same as under DDP.

    Lightning's own gathers the frozen LLM at every save, numbers optimizer states as if nothing were frozen, and knows
    one data-parallel dimension. The mesh has NeMo's names: ``data_parallel``, or ``dp_replicate`` and ``dp_shard``.

    Args:
        replicas: Copies of the model, each sharded over ``world size / replicas`` ranks; ``nodes`` makes one copy per
            node, so that sharding stays where the network is fast.
        **options: Of ModelParallelStrategy: ``process_group_backend``, ``timeout``.
    """

    def __init__(self, replicas: int | Literal["nodes"] = 1, **options: Any) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, **options)
        self._replicas = replicas

    def _configure_launcher(self) -> None:
        # A launcher of processes is refused in a notebook, where one process alone can train.
        if self.num_processes * self.num_nodes > 1:
            super()._configure_launcher()

    def setup_environment(self) -> None:
        """Makes the device mesh.

        Raises:
            VTBError: If the ranks cannot be divided into that many replicas.
        """
        ranks = self.num_nodes * self.num_processes
        replicas = self.num_nodes if self._replicas == "nodes" else self._replicas
        if replicas < 1 or ranks % replicas:
            raise VTBError(f"trainer.strategy: {ranks} ranks cannot be divided into {replicas} replicas")
        self._data_parallel_size = ranks
        super().setup_environment()
        if replicas > 1:
            assert self.lightning_module is not None
            shape, names = (replicas, ranks // replicas, 1), ("dp_replicate", "dp_shard", "tensor_parallel")
            mesh = init_device_mesh(self.root_device.type, shape, mesh_dim_names=names)
            mesh["dp_replicate", "dp_shard"]._flatten("dp")
            self._device_mesh = self.lightning_module._device_mesh = mesh

    @contextmanager
    def tensor_init_context(self, empty_init: bool | None = None) -> Iterator[None]:
        """Lets the weights of an LLM that NeMo's launcher builds wait in their files until they are sharded."""
        with weights_may_wait(), super().tensor_init_context(empty_init):
            yield

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Every rank has its own data."""
        return {"num_replicas": self.world_size, "rank": self.global_rank}

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole tensors on rank 0, nothing elsewhere; frozen weights that stand in a file are not gathered."""
        frozen = getattr(self.lightning_module, "frozen_from_file", False)
        return get_model_state_dict(self.model, options=_whole(ignore_frozen_params=frozen))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Whole states by parameter name on rank 0, nothing elsewhere."""
        return get_optimizer_state_dict(self.model, getattr(optimizer, "_optimizer", optimizer), options=_whole())

    def load_checkpoint(self, checkpoint_path: str | Path) -> Mapping[str, Any]:
        """Loads a checkpoint of any strategy into the sharded model and its optimizers.

        Raises:
            VTBError: If it does not fit the model, or holds weights only and training is to go on.
        """
        checkpoint = self.checkpoint_io.load_checkpoint(self.broadcast(checkpoint_path))
        assert self.lightning_module is not None
        state = checkpoint["state_dict"]
        # Lightning asks the model's own hook only after the weights are in.
        check_checkpoint(self.lightning_module, checkpoint)
        check_state_dict(self.lightning_module, state)
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
        set_model_state_dict(self.model, state, options=options)
        if self.lightning_module.trainer.state.fn == TrainerFn.FITTING:
            if "optimizer_states" not in checkpoint:
                raise VTBError(f"{checkpoint_path} holds weights only; training cannot go on from it")
            for optimizer, own in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
                set_optimizer_state_dict(self.model, optimizer, own, options=options)
        return checkpoint


def _whole(**options: Any) -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, cpu_offload=True, **options)
