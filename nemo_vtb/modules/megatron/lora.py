"""PEFT's LoRA on megatron-core's cut matrices: PEFT's names, scales and switches; the collectives are ours.

PEFT's own layers for Megatron fail in every version that was tried. Of each pair one factor is cut like the matrix, the
other is whole on every rank.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn
from torch.nn import functional as F

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.lora_gate import LoraGate
from nemo_vtb.modules.megatron.cut import TARGETS, Cut, own_part
from nemo_vtb.modules.megatron.groups import tensor_group

_SERVED = (
    "task_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "init_lora_weights",
    "layers_to_transform",
)
# What the Hugging Face backbone's names of the same matrices are.
HUGGING_FACE = {
    "linear_qkv": ("q_proj", "k_proj", "v_proj"),
    "linear_proj": ("o_proj",),
    "linear_fc1": ("gate_proj", "up_proj"),
    "linear_fc2": ("down_proj",),
}


def megatron_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Checks a section ``lora`` for this backbone and names what it adapts.

    Args:
        settings: Fields of ``peft.LoraConfig``; ``target_modules`` may be ``auto`` or ``all-linear``.

    Raises:
        VTBError: On targets that are not among the four, or a field that is not served here.
    """
    given = {key: value for key, value in settings.items() if value not in (None, {}, [], False, "none")}
    targets = given.pop("target_modules", "auto")
    targets = list(TARGETS) if targets in ("auto", "all-linear") else targets
    where = "with model.llm_backend=megatron"
    if isinstance(targets, str) or not targets or set(targets) - set(TARGETS):
        raise VTBError(f"model.lora.target_modules is {targets}; {where} it is auto, or some of {', '.join(TARGETS)}")
    if other := sorted(set(given) - set(_SERVED)):
        raise VTBError(f"model.lora.{other[0]} is not supported {where}")
    initial = settings.get("init_lora_weights", True)
    if initial not in (True, "gaussian"):
        raise VTBError(f"model.lora.init_lora_weights is {initial}; {where} it is true or gaussian")
    for key in ("rank_pattern", "alpha_pattern"):
        if unknown := sorted(set(given.get(key, {})) - set(targets)):
            raise VTBError(f"model.lora.{key} names {unknown[0]}; {where} it is some of {', '.join(targets)}")
    return {**given, "target_modules": list(targets)}


def custom_modules() -> dict[type[nn.Module], type[nn.Module]]:
    """What PEFT is to put around each of megatron-core's matrices."""
    from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear

    return {ColumnParallelLinear: ColumnLora, RowParallelLinear: RowLora}


class ParallelLora(nn.Module, LoraLayer):
    """LoRA on a rank's part of a matrix.

    The factors are drawn whole, by the same numbers on every rank, and then cut: a size of tensor parallelism is no
    seed, and what is whole begins equal everywhere.

    Args:
        base_layer: The matrix.
        adapter_name: PEFT's name of the adapter.
        r: Rank.
        lora_alpha: PEFT's.
        lora_dropout: PEFT's.
        init_lora_weights: True or ``gaussian``.
        use_rslora: PEFT's.
        config: A ``LoraConfig``, which later versions of PEFT give in place of these.
        **more: What PEFT gives besides, none of which is served.
    """

    # Of the factors A and B.
    cuts = (Cut.WHOLE, Cut.WHOLE)

    def __init__(
        self,
        base_layer: Any,
        adapter_name: str,
        r: int = 0,
        lora_alpha: float = 1,
        lora_dropout: float = 0.0,
        init_lora_weights: bool | str = True,
        use_rslora: bool = False,
        config: Any = None,
        **more: Any,
    ) -> None:
        super().__init__()
        LoraLayer.__init__(self, base_layer)
        if config is not None:
            lora_dropout, init_lora_weights = config.lora_dropout, config.init_lora_weights
            use_rslora = config.use_rslora
        self._active_adapter = adapter_name
        self.r[adapter_name], self.lora_alpha[adapter_name] = r, lora_alpha
        self.scaling[adapter_name] = lora_alpha / (r**0.5 if use_rslora else r)
        self.use_rslora[adapter_name] = use_rslora
        self.use_dora[adapter_name] = self.lora_bias[adapter_name] = False
        self.lora_dropout[adapter_name] = WholeDropout(lora_dropout, base_layer, self.cuts[0] is Cut.COLUMNS)
        self._draw(adapter_name, r, init_lora_weights)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters)

    def _draw(self, name: str, rank: int, initial: bool | str) -> None:
        base = self.get_base_layer()
        group = tensor_group()
        wide = base.input_size_per_partition if self.cuts[0] is Cut.COLUMNS else base.input_size
        for factors, sizes, whole, cut in (
            (self.lora_A, (rank, wide), (rank, base.input_size), self.cuts[0]),
            (self.lora_B, (len(base.weight), rank), (base.output_size, rank), self.cuts[1]),
        ):
            factor = nn.utils.skip_init(nn.Linear, sizes[1], sizes[0], bias=False)
            drawn = torch.zeros(whole)
            if factors is self.lora_A and initial == "gaussian":
                nn.init.normal_(drawn, std=1 / rank)
            elif factors is self.lora_A:
                nn.init.kaiming_uniform_(drawn, a=5**0.5)
            factor.weight.data.copy_(own_part(drawn, cut, group.rank(), group.size()))
            factors[name] = factor
            if cut is Cut.WHOLE and base.config.sequence_parallel:
                # It sees a part of each row, so its gradient is a part too.
                factor.weight.register_hook(_sum_over_group)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """The matrix's output with LoRA, and its bias; ``x`` is ``(L, B, width)`` as megatron-core has it."""
        out, bias = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return out, bias
        dtype = out.dtype
        for name in self.active_adapters:
            if name in self.lora_A:
                a, b = self.lora_A[name], self.lora_B[name]
                given = self.lora_dropout[name](self._cast_input_dtype(x, a.weight.dtype))
                out = out + b(self._between(a(given))) * self.scaling[name]
        return out.to(dtype), bias

    @property
    def cut_rows(self) -> bool:
        """Whether this pass has a part of each row on each rank."""
        return bool(self.get_base_layer().sequence_parallel)

    def _between(self, low: Tensor) -> Tensor:
        raise NotImplementedError


class ColumnLora(ParallelLora):
    """On a matrix cut by its outputs: A is whole, B is cut."""

    cuts = (Cut.WHOLE, Cut.ROWS)

    def _between(self, low: Tensor) -> Tensor:
        from megatron.core import tensor_parallel

        if self.cut_rows:
            return tensor_parallel.gather_from_sequence_parallel_region(low, group=tensor_group())
        return tensor_parallel.copy_to_tensor_model_parallel_region(low, group=tensor_group())


class RowLora(ParallelLora):
    """On a matrix cut by its inputs: A is cut, B is whole."""

    cuts = (Cut.COLUMNS, Cut.WHOLE)

    def _between(self, low: Tensor) -> Tensor:
        from megatron.core import tensor_parallel

        if self.cut_rows:
            return tensor_parallel.reduce_scatter_to_sequence_parallel_region(low, group=tensor_group())
        return tensor_parallel.reduce_from_tensor_model_parallel_region(low, group=tensor_group())


class WholeDropout(nn.Module):
    """Dropout whose mask is drawn for the whole input on every rank, which then keeps what belongs to its part.

    Masks are so the same whatever the size of tensor parallelism, equal on what every rank holds and independent on
    parts, and the ranks' random numbers stay in step. A mask is a byte an element and lives as long as its product.

    Args:
        p: Share that is dropped.
        base_layer: The matrix, which knows whether rows are cut.
        columns: Whether the input's columns are cut.
    """

    def __init__(self, p: float, base_layer: Any, columns: bool) -> None:
        super().__init__()
        self.p, self._columns, self._base = p, columns, [base_layer]

    def forward(self, x: Tensor) -> Tensor:
        """Drops elements of ``(L, B, width)`` in training."""
        if not self.p or not self.training:
            return x
        group = tensor_group()
        dim = 2 if self._columns else 0 if self._base[0].sequence_parallel else None
        shape = list(x.shape)
        if dim is not None:
            shape[dim] *= group.size()
        kept = torch.empty(shape, dtype=torch.bool, device=x.device).bernoulli_(1 - self.p)
        if dim is not None:
            kept = kept.chunk(group.size(), dim)[group.rank()]
        return x * kept / (1 - self.p)


class SequenceFirstGate(LoraGate):
    """The gate for megatron-core's ``(L, B, width)``, of which a rank may have a part of the positions."""

    def _hook(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if self.value is None:
            return output
        gate = self.value.to(output.dtype).transpose(0, 1)
        if len(gate) > 1:
            group = tensor_group()
            if len(gate) != len(output):
                gate = F.pad(gate, (0, 0, 0, 0, 0, -len(gate) % group.size()))
            if len(gate) != len(output):
                gate = gate.chunk(group.size())[group.rank()]
        return output * gate


def _sum_over_group(gradient: Tensor) -> Tensor:
    gradient = gradient.contiguous().clone()
    torch.distributed.all_reduce(gradient, group=tensor_group())
    return gradient
