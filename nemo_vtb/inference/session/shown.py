"""What a model was fed, for a person to read."""

from typing import TYPE_CHECKING

import numpy as np

from nemo_vtb.inference.session.answer import Answer

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


def shown(model: "VoiceTextBlender", answer: Answer) -> list[str]:
    """The prompt of an answer in lines, as it stands; recordings by their length.

    Args:
        model: That answered.
        answer: Whose prompt was fed.
    """
    prompt = answer.prompt
    assert prompt is not None
    sounds = (sound for turn in answer.turns for sound in turn.sounds)
    heard = (
        f"[{sound.name}: {sound.seconds:.1f} s, {len(frames)} frames]"
        for sound, (_, frames) in zip(sounds, prompt.clips, strict=True)
    )
    pieces = np.split(prompt.ids, np.flatnonzero(prompt.ids == model.audio_locator_tag_id))
    text = "".join(
        (next(heard) if number else "")
        + model.tokenizer.ids_to_text(piece[bool(number) :].tolist(), remove_special_tokens=False)
        for number, piece in enumerate(pieces)
    )
    acts = f"LoRA acts at {answer.voice:g}" if answer.voice else "the untouched LLM answers"
    return [*text.splitlines(), f"({answer.kept} of {len(prompt.keys)} positions were known; {acts})"]
