"""Data parallelism between groups of ranks that hold one LLM on megatron-core: ``model.llm_backend: megatron``."""

from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.megatron.cut import Cut, cut_of
from nemo_vtb.modules.megatron.groups import data_group, tensor_group
from nemo_vtb.parts.ranks import data_rank, world_size


class MegatronStrategy(DDPStrategy):
    """Lightning's DDP over the ranks that hold the same part of the LLM.

    A group of neighbouring ranks holds one LLM and reads one batch; perception, alignment and LoRA's uncut factors are
    whole on each of them and kept equal. The mesh has the names that NeMo's data module looks for.

    Args:
        process_group_backend: Of the collectives: nccl or gloo; null: what the device has.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(process_group_backend=process_group_backend)

    def begin(self) -> None:
        """Starts the other processes where that is Lightning's part, and the process group.

        Comes before the model is built, since each rank reads its own part of the LLM.
        """
        if self.launcher is None:
            super().setup_environment()
        else:
            self.launcher.launch(super().setup_environment)

    def _configure_launcher(self) -> None:
        # A launcher of processes is refused in a notebook, where one process alone can train.
        if self.num_processes * self.num_nodes > 1:
            super()._configure_launcher()

    def setup_environment(self) -> None:
        """Makes the device mesh.

        Raises:
            VTBError: If the model's LLM is no part of this strategy's groups.
        """
        super().setup_environment()
        model = self.lightning_module
        assert model is not None
        if not getattr(getattr(model, "backbone", None), "tensor_parallel", False):
            raise VTBError("trainer.strategy=vtb_megatron needs model.llm_backend=megatron; other models: ddp")
        model._device_mesh = self._mesh()  # type: ignore[assignment]

    def setup(self, trainer: Any) -> None:
        """Has the precision plugin clip by the norm of all gradients, those of other ranks' parts included."""
        super().setup(trainer)
        self.precision_plugin.clip_grad_by_norm = self._clip  # type: ignore[method-assign]

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """A group of ranks has its own data."""
        return {"num_replicas": world_size(), "rank": data_rank()}

    def post_backward(self, closure_loss: Tensor) -> None:
        """Keeps what is whole on every rank of a group equal there, once a step's gradients are complete.

        On a GPU sums may run in another order each time, and copies would drift apart step by step.
        """
        model = self.lightning_module
        if model is None or model.trainer.fit_loop._should_accumulate():
            return
        whole = [p.grad for name, p in model.named_parameters() if p.grad is not None and cut_of(name) is Cut.WHOLE]
        if tensor_group().size() > 1 and whole:
            _average(whole)

    def _setup_model(self, model: nn.Module) -> DistributedDataParallel:
        self._ddp_kwargs["process_group"] = data_group()
        wrapped = super()._setup_model(model)
        # NeMo's data module asks the wrapped model.
        wrapped.device_mesh = model.device_mesh
        return wrapped

    def _mesh(self) -> DeviceMesh:
        shape = (world_size(), tensor_group().size())
        return init_device_mesh(self.root_device.type, shape, mesh_dim_names=("data_parallel", "tensor_parallel"))

    def _clip(self, optimizer: Optimizer, clip_val: int | float = 0.0) -> None:
        if clip_val <= 0:
            return
        assert self.lightning_module is not None
        cut = {id(p) for name, p in self.lightning_module.named_parameters() if cut_of(name) is not Cut.WHOLE}
        given = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        clip_over_group(given, cut, float(clip_val))


@torch.no_grad()
def clip_over_group(parameters: list[nn.Parameter], cut: set[int], most: float) -> Tensor:
    """Scales gradients down to a norm, like ``torch.nn.utils.clip_grad_norm_`` of the LLM on one rank.

    Args:
        parameters: With gradients.
        cut: Ids of those of which each rank of the group has a part; they count on all ranks, others once.
        most: The norm.

    Returns:
        The norm before, the same on every rank of the group.
    """
    parts = {
        True: [p.grad for p in parameters if id(p) in cut],
        False: [p.grad for p in parameters if id(p) not in cut],
    }
    squares = torch.stack([_square_sum(parts[True], parameters), _square_sum(parts[False], parameters)])
    torch.distributed.all_reduce(squares[:1], group=tensor_group())
    norm = squares.sum().sqrt()
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad.mul_(factor.to(parameter.grad))
    return norm


def _square_sum(gradients: list[Tensor | None], parameters: list[nn.Parameter]) -> Tensor:
    device = parameters[0].device if parameters else torch.device("cpu")
    norms = torch._foreach_norm([g for g in gradients if g is not None]) if gradients else []
    return torch.stack([norm.float() for norm in norms]).square().sum() if norms else torch.zeros((), device=device)


@torch.no_grad()
def _average(gradients: list[Tensor]) -> None:
    """Replaces each gradient by its mean over the ranks of a group; of equal ones, by itself."""
    group = tensor_group()
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for gradient in gradients:
        by_type.setdefault(gradient.dtype, []).append(gradient)
    for alike in by_type.values():
        flat = torch.cat([gradient.reshape(-1) for gradient in alike])
        torch.distributed.all_reduce(flat, group=group)
        flat /= group.size()
        for gradient, mean in zip(alike, flat.split([g.numel() for g in alike]), strict=True):
            gradient.copy_(mean.view_as(gradient))
