"""Frames of clips that are heard more than once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor


class HeardClips:
    """Encodes each clip once, as long as the model is not trained.

    Args:
        model: A VoiceTextBlender in evaluation mode.
        most_bytes: What the frames may take; those heard longest ago are then forgotten.

    Attributes:
        encoded: Clips that went through the encoder.
    """

    def __init__(self, model: Any, most_bytes: int = 1 << 30) -> None:
        self._model, self._most_bytes = model, most_bytes
        self._frames: OrderedDict[Hashable, Tensor] = OrderedDict()
        self.encoded = 0

    def __call__(self, batch: dict[str, Any]) -> tuple[Tensor | None, list[int]]:
        """As the model's ``encode_clips``, for a batch with ``audio_ids``."""
        ids = batch["audio_ids"]
        if not ids:
            return self._model.encode_clips(batch)

        def part(places: list[int]) -> dict[str, Any]:
            lengths = batch["audio_lens"][places]
            audios = batch["audios"][places, : int(lengths.max())]
            return {"audios": audios, "audio_lens": lengths, "audio_ids": [ids[place] for place in places]}

        frames = self.of(ids, part)
        return torch.cat(frames), list(map(len, frames))

    @torch.no_grad()
    def of(self, names: Sequence[Hashable], batch: Callable[[list[int]], dict[str, Any]]) -> list[Tensor]:
        """Frames ``(F, H)`` of each clip; those that are not known are encoded together.

        Args:
            names: Equal ones are of equal clips.
            batch: Of the places of some of them, what ``encode_clips`` takes.
        """
        found = {name: self._frames[name] for name in names if name in self._frames}
        new = {name: place for place, name in enumerate(names) if name not in found}
        if new:
            frames, counts = self._model.encode_clips(batch(list(new.values())))
            assert frames is not None
            # Copies: a view would keep the frames of all that were encoded together.
            found |= {name: clip.clone() for name, clip in zip(new, frames.split(counts), strict=True)}
            self.encoded += len(new)
        for name, clip in found.items():
            self._frames[name] = clip
            self._frames.move_to_end(name)
        while self._frames and sum(clip.nbytes for clip in self._frames.values()) > self._most_bytes:
            self._frames.popitem(last=False)
        return [found[name] for name in names]
