"""Where a causal LM of Transformers keeps what is needed of it: text model, embedding table, layers, head.

SALM holds the table outside the LLM, so that one name and one unit of sharding hold it. The LLM keeps a reference that
is no registered child: it can still look ids up and generate, and no parameter stands in two places.
"""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Kept on the LLM: where the table was, as ``(module path, name)``, and where the text model is.
_PLACE, _BODY = "_vtb_table_place", "_vtb_body_path"

_POSITIONS, _ROWS_BEFORE = re.compile(r"wpe|pos"), 4


def family(llm: "PreTrainedModel") -> str:
    """Names an LLM for people: its class and its model type."""
    return f"{type(llm).__name__} ({llm.config.model_type})"


def text_config(llm: "PreTrainedModel") -> Any:
    """The config of the text model, which a wrapped LLM has inside its own."""
    return llm.config.get_text_config(decoder=True)


def position_limit(llm: "PreTrainedModel") -> int:
    """Positions that an LLM has for prompt and answer; as good as endless where its config names no number."""
    config = text_config(llm)
    named = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    return int(next((most for most in named if most), 2**31))


def has_position_table(llm: "PreTrainedModel") -> bool:
    """Whether positions are looked up in a table, learnt or made, beyond whose end there is nothing."""
    most = position_limit(llm)
    tables = [(name, module.num_embeddings) for name, module in llm.named_modules() if isinstance(module, nn.Embedding)]
    tables += [(name, len(buffer)) for name, buffer in llm.named_buffers() if buffer.dim() == 2]
    # Some families keep a few rows before the first position.
    return any(_POSITIONS.search(name) and most <= rows <= most + _ROWS_BEFORE for name, rows in tables)


def stretched_from(llm: "PreTrainedModel") -> int | None:
    """The length past which rotary positions of a whole batch become others (dynamic scaling, LongRoPE), if any."""
    config = text_config(llm)
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    # Families with several sorts of layers have a section for each.
    sections = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    kinds = {section.get("rope_type"): section for section in sections}
    if "longrope" in kinds:
        below = kinds["longrope"].get("original_max_position_embeddings")
        return below or getattr(config, "original_max_position_embeddings", None)
    return getattr(config, "max_position_embeddings", None) if "dynamic" in kinds else None


def body_of(llm: "PreTrainedModel") -> "PreTrainedModel":
    """The module that makes hidden states of embeddings: everything but the head."""
    if not hasattr(llm, _BODY):
        remember_table(llm)
    return llm.get_submodule(getattr(llm, _BODY))


def layers_of_body(body: nn.Module) -> list[nn.Module]:
    """The decoder layers, whatever their list is called: the longest module list directly in the text model."""
    stacks = [list(child) for child in body.children() if isinstance(child, nn.ModuleList)]
    return max(stacks, key=len, default=[])


def argument(module: nn.Module, *names: str) -> str | None:
    """The first of these names that ``module.forward`` lists among its arguments."""
    known = inspect.signature(type(module).forward).parameters
    return next((name for name in names if name in known), None)


def remember_table(llm: "PreTrainedModel") -> nn.Module:
    """Finds the embedding table and writes down where it is.

    Raises:
        VTBError: If the LLM has none, or no head.
    """
    from transformers import PreTrainedModel

    table, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    if head is None or getattr(table, "weight", None) is None:
        raise VTBError(
            f"the LLM {family(llm)} cannot be trained: it has no {'embedding table' if head else 'output head'} "
            "that Transformers knows of"
        )
    place = next(
        (path, name)
        for path, module in llm.named_modules()
        for name, child in module.named_children()
        if child is table
    )
    setattr(llm, _PLACE, place)
    # Transformers' own look-ups miss some families; it is always the innermost model that has the table.
    models = [path for path, module in llm.named_modules() if path and isinstance(module, PreTrainedModel)]
    around = [path for path in models if f"{place[0]}.".startswith(f"{path}.")]
    if not around:
        raise VTBError(f"the LLM {family(llm)} cannot be trained: no text model stands apart from its head")
    setattr(llm, _BODY, max(around, key=len))
    return table


def take_table(llm: "PreTrainedModel") -> nn.Module:
    """Takes the embedding table out of the LLM's children and leaves it a plain reference."""
    table = remember_table(llm)
    _unregister(*_owner(llm), table)
    return table


@contextmanager
def lent_table(llm: "PreTrainedModel", table: nn.Module) -> Iterator[None]:
    """Has the table among the LLM's children for the time of the block, as PEFT and a saved LLM need it."""
    owner, name = _owner(llm)
    setattr(owner, name, table)
    try:
        yield
    finally:
        _unregister(owner, name, getattr(owner, name))


def refer_to_table(llm: "PreTrainedModel", table: nn.Module) -> None:
    """Sets the LLM's reference to its table again where NeMo's ``move_embedding`` has deleted it."""
    owner, name = _owner(llm)
    if not hasattr(owner, name):
        owner.__dict__[name] = table


def return_table(llm: "PreTrainedModel", table: nn.Module) -> None:
    """Puts the table back for good."""
    setattr(*_owner(llm), table)


def embedding_size(table: nn.Module) -> int:
    """Width of what the LLM takes in place of token embeddings."""
    return table.weight.shape[1]


def _owner(llm: "PreTrainedModel") -> tuple[nn.Module, str]:
    path, name = getattr(llm, _PLACE)
    return llm.get_submodule(path), name


def _unregister(owner: nn.Module, name: str, table: nn.Module) -> None:
    delattr(owner, name)
    # Beside the registered children, where neither state dicts nor sharding look.
    owner.__dict__[name] = table
