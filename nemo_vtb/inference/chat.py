"""A conversation with a checkpoint: written and spoken words in every turn."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

# A name, and what ends a sentence or closes a bracket behind it.
_CLIP = re.compile(r"""@(\S+?)([.,;:?!)"']*)(?=\s|$)""")
_HELP = "Type a message; @file.wav puts a recording in its place. /reset starts over, /quit leaves."


class ChatSession:
    """Keeps the turns of one conversation.

    Args:
        model: A model in evaluation mode.
        system_prompt: An optional system turn.
    """

    def __init__(self, model: "VoiceTextBlender", system_prompt: str | None = None) -> None:
        self.model = model
        self._system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        self.turns: list[dict] = []
        self.reset()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = "cpu",
        system_prompt: str | None = None,
        lora_scale: float = 1.0,
        precision: str = "32-true",
    ) -> "ChatSession":
        """Loads a checkpoint and opens a conversation with it.

        Args:
            path: The checkpoint.
            device: As PyTorch names it.
            system_prompt: An optional system turn.
            lora_scale: How much of LoRA acts; 0 is the untouched LLM.
            precision: See ``load_checkpoint``.

        Raises:
            VTBError: If the file is not a VoiceTextBlender checkpoint, or the scale is below 0.
        """
        from nemo_vtb.models.load import load_checkpoint

        model = load_checkpoint(path, device, precision)
        model.backbone.lora_scale = lora_scale
        return cls(model, system_prompt)

    def reset(self) -> None:
        """Forgets the turns, keeps the system prompt."""
        self.turns = list(self._system)

    def say(self, message: str, max_new_tokens: int = 128) -> str:
        """Takes a user turn, in which ``@path`` stands for a recording, and returns the answer.

        Raises:
            VTBError: If a recording, of this turn or an earlier one, is missing or cannot be read; the conversation is
                then as it was.
        """
        heard = [path for turn in self.turns for path in turn.get("audio", ())]
        if gone := [path for path in heard if not Path(path).is_file()]:
            raise VTBError(f"the recording {gone[0]} of an earlier turn is gone: put it back, or start over")
        turn = parse_message(message, self.model.audio_locator_tag)
        try:
            answer = self.model.generate([[*self.turns, turn]], max_new_tokens=max_new_tokens)
        except VTBError:
            raise
        except Exception as error:
            if heard := [*heard, *turn.get("audio", ())]:
                raise VTBError(f"cannot answer with {', '.join(heard)}: {error}") from error
            raise
        text = self.model.tokenizer.ids_to_text(answer[0].tolist()).strip()
        self.turns += [turn, {"role": "assistant", "content": text}]
        return text


def parse_message(message: str, audio_tag: str) -> dict:
    """Splits a typed message into a user turn of text with placeholders and a list of recordings.

    Raises:
        VTBError: If a named recording does not exist.
    """
    paths = [match.group(1) for match in _CLIP.finditer(message) if _looks_like_file(match.group(1))]
    for path in paths:
        if not Path(path).is_file():
            raise VTBError(f"no recording at {path}")
    text = _CLIP.sub(
        lambda match: audio_tag + match.group(2) if _looks_like_file(match.group(1)) else match.group(0), message
    )
    turn: dict = {"role": "user", "content": text}
    if paths:
        turn["audio"] = paths
    return turn


def run_console(session: ChatSession, read: Callable[[str], str] = input, write: Callable[[str], None] = print) -> None:
    """Talks on the console until ``/quit`` or the end of input."""
    write(_HELP)
    while True:
        try:
            message = read("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if message == "/quit":
            return
        if message == "/reset":
            session.reset()
        elif message:
            try:
                write(f"vtb> {session.say(message)}")
            except VTBError as error:
                write(f"vtb: {error}")


def _looks_like_file(name: str) -> bool:
    return Path(name).suffix.lower() in {".wav", ".flac", ".ogg", ".opus", ".mp3"}
