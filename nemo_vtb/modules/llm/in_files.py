"""Where each parameter of an LLM stands in its files of safetensors, and reading no more of them than is wanted."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class InFile:
    """A tensor in a file, in the precision that the LLM would have been loaded in."""

    path: str
    key: str
    dtype: torch.dtype

    def rows(self, start: int, count: int) -> Tensor:
        """Rows of the first dimension; of the file only those are read."""
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            return file.get_slice(self.key)[start : start + count].to(self.dtype)

    def whole(self) -> Tensor:
        """All of it."""
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            return file.get_tensor(self.key).to(self.dtype)


@dataclass(frozen=True)
class MadeOfSeveral:
    """What Transformers makes of several tensors, of the experts of a layer for instance.

    Attributes:
        name: Of the parameter.
        first: Of the parameters that are made together, the name that Transformers knows them by.
        parts: The tensors, each with the pattern of names by which it was found.
        converter: Transformers' ``WeightConverter``.
        config: Of the LLM.
    """

    name: str
    first: str
    parts: tuple[tuple[str, InFile], ...]
    converter: Any
    config: Any

    def rows(self, start: int, count: int) -> Tensor:
        """Rows of the first dimension, of all that has to be read for them."""
        return self.whole()[start : start + count]

    def whole(self) -> Tensor:
        """All of it."""
        return self.made({part: part.whole() for _, part in self.parts})[self.name]

    def made(self, read: Mapping[InFile, Tensor]) -> dict[str, Tensor]:
        """All parameters that are made together, by name."""
        converter = deepcopy(self.converter)
        for pattern, part in self.parts:
            converter.add_tensor(self.first, part.key, pattern, read[part])
        made = converter.convert(self.first, config=self.config)
        return {name: value[0] if isinstance(value, list) else value for name, value in made.items()}


@dataclass(frozen=True)
class InMemory:
    """A tensor that another run trained in place of what stands in the file."""

    tensor: Tensor

    def rows(self, start: int, count: int) -> Tensor:
        """Rows of the first dimension."""
        return self.tensor[start : start + count]

    def whole(self) -> Tensor:
        """All of it."""
        return self.tensor


Source = InFile | MadeOfSeveral | InMemory


def sources_of(llm: "PreTrainedModel", files: str | Path) -> dict[str, Source]:
    """Where everything in an LLM's state stands, by name; names that stand nowhere are left out.

    Args:
        llm: From ``from_pretrained(..., device_map="meta")``.
        files: Its folder, or the hub id that it was read from.

    Raises:
        VTBError: Says what cannot be read in parts.
    """
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    state = llm.state_dict()
    changes = getattr(llm, "_weight_conversions", None) or []
    renamings = [change for change in changes if isinstance(change, WeightRenaming)]
    converters = [change for change in changes if isinstance(change, WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    found: dict[str, Source] = {}
    several: dict[str, list[tuple[str, InFile, tuple[int, ...]]]] = {}
    for path, key, shape in sorted(_stored(files), key=lambda stored: dot_natural_key(stored[1])):
        name, pattern = rename_source_key(key, renamings, converters, llm.base_model_prefix, state)
        if name not in state and key in state:
            name, pattern = key, None
        if name not in state:
            continue
        part = InFile(path, key, state[name].dtype)
        if pattern is not None:
            several.setdefault(name, []).append((pattern, part, shape))
        elif tuple(state[name].shape) == shape:
            found[name] = part
    for first, parts in several.items():
        found.update(_made(first, parts, by_pattern[parts[0][0]], llm.config, state))
    return found


def _made(
    first: str,
    parts: list[tuple[str, InFile, tuple[int, ...]]],
    converter: Any,
    config: Any,
    state: Mapping[str, Tensor],
) -> dict[str, Source]:
    """Tries on shapes alone what Transformers makes of some tensors."""
    one = MadeOfSeveral(first, first, tuple((pattern, part) for pattern, part, _ in parts), converter, config)
    try:
        made = one.made({part: torch.empty(shape, dtype=part.dtype, device="meta") for _, part, shape in parts})
    except Exception as error:  # each family's conversion is its own
        raise VTBError(f"{first} is made of others in a way that needs the LLM itself") from error
    return {
        name: MadeOfSeveral(name, first, one.parts, converter, config)
        for name, value in made.items()
        if name in state and state[name].shape == value.shape
    }


def _stored(files: str | Path) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """File, key and shape of every tensor.

    Raises:
        VTBError: If there are none in safetensors.
    """
    from safetensors import safe_open
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

    index = cached_file(str(files), SAFE_WEIGHTS_INDEX_NAME, _raise_exceptions_for_missing_entries=False)
    names = sorted(set(json.loads(Path(index).read_text())["weight_map"].values())) if index else [SAFE_WEIGHTS_NAME]
    for name in names:
        path = cached_file(str(files), name, _raise_exceptions_for_missing_entries=False)
        if path is None:
            raise VTBError(f"its weights are in no file of safetensors ({name} is not there)")
        with safe_open(path, framework="pt") as file:
            for key in list(file.keys()):
                yield path, key, tuple(file.get_slice(key).get_shape())
