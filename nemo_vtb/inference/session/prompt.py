"""From turns to what the LLM is fed, position by position, with a name for each position."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nemo_vtb.data.direct_ids import direct_ids
from nemo_vtb.data.prompts.formats import formatter_of
from nemo_vtb.inference.audio_input import Sound
from nemo_vtb.inference.session.messages import Turn, whole_text
from nemo_vtb.parts.prompts.control_tokens import PlainTextTokenizer, broken, control_tokens
from nemo_vtb.parts.prompts.turn_mask import encode_turns, stop_ids, without_tag

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


class Prompt(NamedTuple):
    """A conversation up to the header of the next answer.

    Attributes:
        keys: int64 ``(T,)``: a token's id, or for a frame a number below 0 that stands for its recording. Equal keys
            up to a position are an equal past.
        clips: First position and frames ``(F, H)`` of each recording.
        ids: int64 token ids, one placeholder for each recording.
        seconds: Of all recordings.
    """

    keys: np.ndarray
    clips: list[tuple[int, Tensor]]
    ids: np.ndarray
    seconds: float

    @property
    def spoken(self) -> bool:
        """Whether there is a recording in it."""
        return bool(self.clips)


class PromptWriter:
    """Encodes turns as training does: nothing in anybody's words becomes a control token or a placeholder.

    Args:
        model: Its tokenizer, prompt format and ``model.thinking`` are kept to.
    """

    def __init__(self, model: "VoiceTextBlender") -> None:
        self._model = model
        self._formatter = formatter_of(model.cfg.prompt_format, PlainTextTokenizer(direct_ids(model.tokenizer)))
        self._controls = control_tokens(model.tokenizer, self._formatter)
        self.stops = frozenset(stop_ids(self._formatter))

    def ids(self, turns: Sequence[Turn], thinking: bool | None = None) -> np.ndarray:
        """Token ids of turns, with a placeholder for each recording, ending with the header of the answer.

        Raises:
            VTBError: If the format refuses the turns, or to think, or there is half a letter in them.
        """
        said = [(turn.role, "".join(map(self._written, turn.parts))) for turn in turns]
        return encode_turns(said, self._formatter, for_generation=True, thinking=thinking).input_ids

    def prompt(self, ids: np.ndarray, sounds: Sequence[Sound], frames: Sequence[Tensor]) -> Prompt:
        """Puts frames in the place of placeholders.

        Args:
            ids: From ``ids``.
            sounds: Of the turns, in order.
            frames: ``(F, H)`` of each.
        """
        places = np.flatnonzero(ids == self._model.audio_locator_tag_id)
        assert len(places) == len(sounds)
        pieces, clips, start, length = [], [], 0, 0
        for place, sound, clip in zip(places, sounds, frames, strict=True):
            length += int(place) - start
            clips.append((length, clip))
            pieces += [ids[start:place], np.full(len(clip), sound_key(sound), dtype=np.int64)]
            length += len(clip)
            start = int(place) + 1
        keys = np.concatenate([*pieces, ids[start:]]).astype(np.int64)
        return Prompt(keys, clips, ids, sum(sound.seconds for sound in sounds))

    def embeds(self, prompt: Prompt, start: int) -> tuple[Tensor, Tensor]:
        """What stands at the positions from ``start`` on.

        Returns:
            ``(T - start, H)`` and int64 ids ``(T - start,)``, padding where a position is no token.
        """
        backbone = self._model.backbone
        keys = torch.from_numpy(prompt.keys[start:]).to(self._model.device)
        ids = keys.where(keys >= 0, backbone.per_layer.pad)
        embeds = backbone.embed(keys.clamp(min=0)).clone()
        for first, frames in prompt.clips:
            begin = max(first, start)
            if (end := first + len(frames)) > begin:
                embeds[begin - start : end - start] = frames[begin - first :].to(embeds)
        return embeds, ids

    def _written(self, part: str | Sound) -> str:
        tag = self._model.audio_locator_tag
        return (
            tag if isinstance(part, Sound) else broken(without_tag(whole_text(part, "a message"), tag), self._controls)
        )


def sound_key(sound: Sound) -> int:
    """A number below 0 that stands for what is heard, whatever its name."""
    digest = blake2b(np.ascontiguousarray(sound.samples).tobytes(), digest_size=8).digest()
    return -1 - (int.from_bytes(digest, "big") >> 1)
