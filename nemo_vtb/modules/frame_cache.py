"""Frames of a frozen speech encoder, kept after the first time a clip is heard."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.encode import encoder_frames

if TYPE_CHECKING:
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

_CLIPS_AT_ONCE = 16


class FrameCache:
    """Encoder frames by clip id, in bfloat16 in host memory (about 100 kB a second for Whisper base).

    Args:
        perception: The module whose encoder is frozen.

    Raises:
        VTBError: If the encoder trains or features are augmented; cached frames would then be wrong.
    """

    def __init__(self, perception: "AudioPerceptionModule") -> None:
        if any(parameter.requires_grad for parameter in perception.encoder.parameters()):
            raise VTBError(
                "model.encoder_cache=true needs a frozen encoder: add '^perception\\.encoder\\..+$' to "
                "model.freeze_params, or switch the cache off"
            )
        if perception.spec_augmentation is not None:
            raise VTBError("model.encoder_cache=true cannot be used with model.perception.spec_augment")
        self._frames: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._frames)

    @torch.no_grad()
    def lookup(
        self, perception: "AudioPerceptionModule", ids: Sequence[str], audios: Tensor, audio_lens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns ``(B, D, T)`` frames and ``(B,)`` lengths, encoding what was not heard before, by length."""
        lengths = audio_lens.tolist()
        new = sorted((i for i, name in enumerate(ids) if name not in self._frames), key=lengths.__getitem__)
        for start in range(0, len(new), _CLIPS_AT_ONCE):
            part = new[start : start + _CLIPS_AT_ONCE]
            longest = max(lengths[i] for i in part)
            frames, frame_lens = encoder_frames(perception, audios[part, :longest], audio_lens[part])
            for row, i in enumerate(part):
                kept = frames[row, :, : int(frame_lens[row])]
                self._frames[ids[i]] = kept.T.to("cpu", torch.bfloat16).contiguous()
        rows = [self._frames[name] for name in ids]
        padded = pad_sequence(rows, batch_first=True).transpose(1, 2)
        dtype = next(perception.modality_adapter.parameters()).dtype
        return padded.to(audios.device, dtype), torch.tensor([len(row) for row in rows], device=audios.device)
