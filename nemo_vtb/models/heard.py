"""Frames of clips that are asked about more than once."""

from typing import Any

import torch
from torch import Tensor


class HeardClips:
    """Encodes each clip once, as long as the model is not trained.

    Args:
        model: A VoiceTextBlender in evaluation mode.
        most_bytes: What the frames may take; the oldest are then forgotten.
    """

    def __init__(self, model: Any, most_bytes: int = 1 << 30) -> None:
        self._model, self._most_bytes = model, most_bytes
        self._frames: dict[str, Tensor] = {}
        self._bytes = 0

    def __call__(self, batch: dict[str, Any]) -> tuple[Tensor | None, list[int]]:
        """As the model's ``encode_clips``, for a batch with ``audio_ids``."""
        ids = batch["audio_ids"]
        if not ids:
            return self._model.encode_clips(batch)
        found = {name: self._frames[name] for name in ids if name in self._frames}
        new = {name: place for place, name in enumerate(ids) if name not in found}
        if new:
            places = list(new.values())
            lengths = batch["audio_lens"][places]
            audios = batch["audios"][places, : int(lengths.max())]
            frames, counts = self._model.encode_clips({"audios": audios, "audio_lens": lengths, "audio_ids": list(new)})
            assert frames is not None
            for name, clip in zip(new, frames.split(counts), strict=True):
                found[name] = clip
                self._keep(name, clip)
        return torch.cat([found[name] for name in ids]), [len(found[name]) for name in ids]

    def _keep(self, name: str, clip: Tensor) -> None:
        self._frames[name] = clip.clone()
        self._bytes += clip.nbytes
        while self._bytes > self._most_bytes and self._frames:
            self._bytes -= self._frames.pop(next(iter(self._frames))).nbytes
