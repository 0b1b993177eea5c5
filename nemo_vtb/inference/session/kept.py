"""What was computed for a conversation, for when it goes on: keys and values by what they stand for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_vtb.inference.session.caches import beginning, can_be_cut, megabytes, new_cache

if TYPE_CHECKING:
    from nemo_vtb.modules.backbone import HFBackbone


@dataclass(frozen=True)
class Past:
    """Keys and values of one conversation.

    Attributes:
        voice: How much of LoRA acted: 0 too where the gate kept it out. A past is of use to the same voice alone.
        keys: int64 ``(T,)``; see ``Prompt.keys``.
        cache: A ``transformers.Cache`` of one row with ``T`` positions.
    """

    voice: float
    keys: np.ndarray
    cache: Any


class KeptPasts:
    """Pasts of many conversations, of which those used longest ago are forgotten.

    Args:
        backbone: The LLM.
        most: Megabytes that are kept; 0 keeps nothing.
    """

    def __init__(self, backbone: "HFBackbone", most: float) -> None:
        self._backbone, self._most = backbone, most
        self._cut = can_be_cut(backbone)
        self._pasts: list[Past] = []

    @property
    def held(self) -> float:
        """Megabytes in use."""
        return sum(megabytes(past.cache) for past in self._pasts)

    def begin(self, voice: float, keys: np.ndarray) -> Past:
        """The longest past that a conversation shares, at least one position short of all of it.

        Args:
            voice: See ``Past``.
            keys: int64 ``(T,)`` of the conversation.
        """
        best, length = None, 0
        for past in self._pasts:
            shared = shared_start(past.keys, keys[:-1]) if past.voice == voice else 0
            if shared > length and (self._cut or shared == len(past.keys)):
                best, length = past, shared
        if best is None:
            return Past(voice, keys[:0], new_cache(self._backbone) if self._backbone.caches else None)
        self._forget([best])
        if not self._cut:
            # A running state is changed by what follows: it is handed over.
            return best
        self._pasts.append(best)
        return Past(voice, keys[:length], beginning(best.cache, length, self._backbone))

    def keep(self, past: Past) -> None:
        """Keeps a past, in place of those that it goes on from."""
        if past.cache is None or not len(past.keys):
            return
        self._forget([old for old in self._pasts if old.voice == past.voice and _begins(past.keys, old.keys)])
        self._pasts.append(past)
        while self._pasts and self.held > self._most:
            self._pasts.pop(0)

    def _forget(self, pasts: Iterable[Past]) -> None:
        gone = {id(past) for past in pasts}
        self._pasts = [past for past in self._pasts if id(past) not in gone]


def shared_start(one: np.ndarray, other: np.ndarray) -> int:
    """How many positions two prompts begin with alike, by their ``(positions,)`` keys."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length


def _begins(longer: np.ndarray, shorter: np.ndarray) -> bool:
    return len(shorter) <= len(longer) and np.array_equal(longer[: len(shorter)], shorter)
