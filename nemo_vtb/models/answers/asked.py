"""What ``VoiceTextBlender.generate`` was given, looked through before anything runs: prompts, clips and options."""

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from torch import Tensor
from transformers import GenerationConfig, GenerationMixin

from nemo_vtb.errors import VTBError

# What Hugging Face's ``generate`` takes besides the arguments that its signature names.
_BESIDES = ("tokenizer", "assistant_tokenizer")
# They read the ids of the prompt, which embeddings stand in place of here.
_OF_PROMPT_IDS = ("guidance_scale", "negative_prompt_ids", "negative_prompt_attention_mask")


def check_prompts(prompts: Any) -> None:
    """Refuses prompts that are no conversations.

    Raises:
        VTBError: Says what a prompt is, and which one is none.
    """
    if not len(prompts):
        raise VTBError("generate was given no prompts")
    if isinstance(prompts, Tensor):
        return
    for number, prompt in enumerate(prompts):
        turns = prompt if isinstance(prompt, Sequence) and not isinstance(prompt, str) else None
        if not turns or not all(_is_turn(turn) for turn in turns):
            raise VTBError(
                f"prompt {number} is no conversation: it is a list of turns, each with a role and a text, as in "
                "[{'role': 'user', 'content': 'What is it?'}], where the placeholder stands for a clip"
            )


def check_clips(audios: Tensor | None, audio_lens: Tensor | None) -> None:
    """Refuses clips without lengths, or with lengths that they do not have.

    Raises:
        VTBError: Says what does not fit.
    """
    if (audios is None) != (audio_lens is None):
        raise VTBError("audios and audio_lens go together: clips (clips, samples) and how many samples each has")
    if audios is None or audio_lens is None or not len(audio_lens):
        return
    if len(audios) != len(audio_lens) or int(audio_lens.max()) > audios.shape[-1]:
        raise VTBError(
            f"audio_lens says {audio_lens.tolist()} samples, and audios is {tuple(audios.shape)}: one length for each "
            "clip, and none longer than the clips are"
        )


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tells fields of a ``GenerationConfig`` from what else Hugging Face's ``generate`` takes.

    A ``GenerationConfig`` itself would keep any name, and a misspelt one would change nothing.

    Raises:
        VTBError: Names an option that is neither, or that answers to embeddings cannot have.
    """
    fields = [name for name in vars(GenerationConfig()) if not name.startswith("_")]
    taken = [*inspect.signature(GenerationMixin.generate).parameters, *_BESIDES]
    for name, value in options.items():
        if name in _OF_PROMPT_IDS and value is not None:
            raise VTBError(
                f"{name} cannot be had: it reads a prompt's tokens, in whose place there are frames and words"
            )
        if name not in fields and name not in taken:
            close = get_close_matches(name, [*fields, *taken], n=1)
            hint = f"did you mean {close[0]}?" if close else "they are fields of transformers.GenerationConfig"
            raise VTBError(f"generate has no option {name}: {hint}")
    config = {name: value for name, value in options.items() if name in fields}
    return config, {name: value for name, value in options.items() if name not in fields}


def text_of(turn: Mapping[str, Any]) -> Any:
    """Returns the words of a turn: under ``content``, or where NeMo's prompt formats have them, ``slots.message``."""
    slots = turn.get("slots")
    return turn.get("content", slots.get("message") if isinstance(slots, Mapping) else None)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(text_of(turn), str)
