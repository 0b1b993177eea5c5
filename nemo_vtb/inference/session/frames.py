"""Frames of recordings that were encoded once and may be heard again."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nemo_vtb.inference.audio_input import Sound
from nemo_vtb.inference.session.prompt import sound_key
from nemo_vtb.models.named_audio import padded_clips

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


class KeptFrames:
    """Encodes recordings, and forgets those heard longest ago.

    Args:
        model: In evaluation mode.
        most: Frames that are kept.

    Attributes:
        encoded: Recordings that went through the encoder.
    """

    def __init__(self, model: "VoiceTextBlender", most: int = 1 << 15) -> None:
        self._model, self._most = model, most
        self._frames: OrderedDict[int, Tensor] = OrderedDict()
        self.encoded = 0

    @torch.no_grad()
    def of(self, sounds: Sequence[Sound]) -> list[Tensor]:
        """Frames ``(F, H)`` of each recording; those that are not known are encoded together."""
        keys = [sound_key(sound) for sound in sounds]
        asked = dict(zip(keys, sounds, strict=True))
        found = {key: self._frames[key] for key in asked if key in self._frames}
        if new := [key for key in asked if key not in found]:
            audios, lengths = padded_clips([asked[key].samples for key in new], self._model.device)
            with self._model.arithmetic():
                frames, counts = self._model.encode_clips({"audios": audios, "audio_lens": lengths})
            assert frames is not None
            # Copies: a view would keep the frames of all that were encoded together.
            found |= {key: clip.clone() for key, clip in zip(new, frames.split(counts), strict=True)}
            self.encoded += len(new)
        for key, clip in found.items():
            self._frames[key] = clip
            self._frames.move_to_end(key)
        while sum(map(len, self._frames.values())) > self._most and len(self._frames) > 1:
            self._frames.popitem(last=False)
        return [found[key] for key in keys]
