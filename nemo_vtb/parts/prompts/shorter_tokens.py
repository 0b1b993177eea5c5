"""A tokenizer's tokens written in shorter ones: those that its first merges make."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError


class ShorterTokens:
    """Spells with a part of a BPE tokenizer's vocabulary.

    BPE (Sennrich et al. 2016) applies its merges by rank, and none makes an earlier one possible: what the first ones
    alone give of a text is what all give of it, each token taken apart. All results are tokens of the same tokenizer.

    Args:
        tokenizer: A fast Hugging Face tokenizer, or NeMo's wrapper of one.
        merges: How many of its merges are used, the first ones.

    Raises:
        VTBError: If the tokenizer has no merges.
    """

    def __init__(self, tokenizer: Any, merges: int) -> None:
        backend = getattr(getattr(tokenizer, "tokenizer", tokenizer), "backend_tokenizer", None)
        model = json.loads(backend.to_str())["model"] if backend is not None else {}
        if not model.get("merges"):
            raise VTBError(
                f"model.alignment.merges={merges}: the LLM's tokenizer is no fast BPE tokenizer and has no merges to "
                "choose from; leave the key out"
            )
        ids = model["vocab"]
        halves: dict[int, tuple[int, int]] = {}
        whole = set()
        for rank, merge in enumerate(model["merges"]):
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            made = ids[left + right]
            if rank < merges:
                whole.add(made)
            elif made not in whole:
                halves.setdefault(made, (ids[left], ids[right]))
        self._halves = halves

    def __call__(self, ids: Iterable[int]) -> np.ndarray:
        """Token ids ``(n,)`` of any length in shorter tokens ``(m,)``, ``m >= n``."""
        spelled: list[int] = []
        for token in ids:
            waiting = [int(token)]
            while waiting:
                piece = waiting.pop()
                if piece in self._halves:
                    waiting.extend(reversed(self._halves[piece]))
                else:
                    spelled.append(piece)
        return np.asarray(spelled, dtype=np.int64)
