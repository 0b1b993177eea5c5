"""A conversation with a checkpoint: written and spoken words in every turn."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import USUAL, Limits, read_sound
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.decoder import Decoder
from nemo_vtb.inference.session.messages import Turn, read_messages, spaced, whole_text
from nemo_vtb.inference.session.sampling import AnswerOptions
from nemo_vtb.inference.session.saved import content_of
from nemo_vtb.inference.session.shown import shown
from nemo_vtb.inference.session.typed import typed_parts

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

Message = str | Sequence[Mapping[str, Any]]


class ChatSession:
    """One conversation, whose keys, values and frames are kept from turn to turn.

    A message is a typed line, in which ``@clip.wav`` puts a recording in its place, or a list of OpenAI's typed parts,
    in which nothing is looked for: ``{"type": "text", "text": ...}`` and ``{"type": "audio", "audio": ...}`` with a
    path, bytes, an open file or ``(samples, rate)``, or ``input_audio`` and ``audio_url`` as OpenAI's clients write
    them. Keywords of ``say`` and ``stream`` are those of ``AnswerOptions``. For one thread at a time.

    Example:
        >>> from nemo_vtb import ChatSession
        >>> session = ChatSession.from_checkpoint("shipped")
        >>> clip = "examples/corpora/spoken_commands/audio/0278_bm_george.ogg"
        >>> said = session.say(f"Transcribe the audio. @{clip}", max_new_tokens=24)
        >>> "".join(session.stream([{"type": "text", "text": "Say hello."}], max_new_tokens=8)) == session.answer.text
        True
        >>> [message["role"] for message in session.messages]
        ['user', 'assistant', 'user', 'assistant']

    Args:
        model: A model in evaluation mode.
        system_prompt: An optional system turn.
        decoder: Of the same model, where several conversations share it.
        lora_scale: How much of LoRA acts; None leaves the model as it is set, 0 is the untouched LLM.
        limits: Of each recording.

    Attributes:
        turns: What was said so far, a system turn included.
        answer: The last answer with its figures; None before the first.
    """

    def __init__(
        self,
        model: "VoiceTextBlender",
        system_prompt: str | None = None,
        decoder: Decoder | None = None,
        lora_scale: float | None = None,
        limits: Limits = USUAL,
    ) -> None:
        self.model, self.lora_scale, self._limits = model, lora_scale, limits
        self.decoder = decoder if decoder is not None else Decoder(model)
        self.turns: list[Turn] = []
        self.answer: Answer | None = None
        self._system = system_prompt
        self.reset()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = "cpu",
        system_prompt: str | None = None,
        lora_scale: float = 1.0,
        precision: str = "32-true",
        tensor_parallel: int | None = None,
    ) -> "ChatSession":
        """Loads a checkpoint and opens a conversation with it.

        Args:
            path: The checkpoint.
            device: As PyTorch names it.
            system_prompt: An optional system turn.
            lora_scale: How much of LoRA acts; 0 is the untouched LLM.
            precision: See ``load_checkpoint``.
            tensor_parallel: Likewise.

        Raises:
            VTBError: If the file is not a VoiceTextBlender checkpoint, or the scale is below 0.
        """
        from nemo_vtb.models.load import load_checkpoint

        model = load_checkpoint(path, device, precision, tensor_parallel=tensor_parallel)
        model.backbone.lora_scale = lora_scale
        return cls(model, system_prompt)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as OpenAI-shaped messages; recordings are parts of type ``audio``."""
        return [{"role": turn.role, "content": content_of(turn)} for turn in self.turns]

    @property
    def system(self) -> str | None:
        """The system prompt; another one holds from the next answer on."""
        return self._system

    @system.setter
    def system(self, prompt: str | None) -> None:
        self._system = whole_text(prompt, "the system prompt") if prompt else None
        said = [turn for turn in self.turns if turn.role != "system"]
        self.turns = [*([Turn("system", (self._system,))] if self._system else []), *said]

    def reset(self) -> None:
        """Forgets the turns, keeps the system prompt."""
        self.turns, self.answer = [], None
        self.system = self._system

    def undo(self) -> bool:
        """Takes the last message and its answer back; whether there was one."""
        asked = [number for number, turn in enumerate(self.turns) if turn.role == "user"]
        if not asked:
            return False
        self.turns, self.answer = self.turns[: asked[-1]], None
        return True

    def say(self, message: Message, max_new_tokens: int = 128, **options: Any) -> str:
        """Takes the user's turn and returns the answer.

        Args:
            message: See the class.
            max_new_tokens: Most tokens of the answer.
            **options: See ``AnswerOptions``.

        Raises:
            VTBError: If a recording is missing or cannot be read, or an option cannot be; the conversation is then as
                it was.
        """
        for _ in self.stream(message, max_new_tokens, **options):
            pass
        assert self.answer is not None
        return self.answer.text

    def stream(self, message: Message, max_new_tokens: int = 256, **options: Any) -> Iterator[str]:
        """Takes the user's turn and returns an iterator over the answer's pieces of text, as they come.

        Whoever closes the iterator, or calls ``answer.cancel()``, ends the answer; what was said by then is its turn.

        Args:
            message: See the class.
            max_new_tokens: Most tokens of the answer.
            **options: See ``AnswerOptions``.

        Raises:
            VTBError: See ``say``.
        """
        how = AnswerOptions(max_new_tokens=max_new_tokens, **options)
        return self._answered(*_following(self.turns, self._user_turn(message)), how)

    def retry(self, max_new_tokens: int = 256, **options: Any) -> Iterator[str]:
        """Answers the last message anew; see ``stream``.

        Raises:
            VTBError: If there is none.
        """
        asked = [number for number, turn in enumerate(self.turns) if turn.role == "user"]
        if not asked:
            raise VTBError("there is no message to answer again")
        how = AnswerOptions(max_new_tokens=max_new_tokens, **options)
        return self._answered(self.turns[: asked[-1]], self.turns[asked[-1]], how)

    def shown(self) -> list[str]:
        """What the model was fed for the last answer, in lines: the prompt as it stands, recordings by their length.

        Raises:
            VTBError: If there is no answer yet.
        """
        if self.answer is None or self.answer.prompt is None:
            raise VTBError("nothing was asked yet")
        return shown(self.model, self.answer)

    def save(self, path: str | Path) -> None:
        """Writes the conversation as OpenAI messages in JSON, its recordings in it.

        Raises:
            VTBError: If it cannot be written.
        """
        messages = [{"role": turn.role, "content": content_of(turn, saved=True)} for turn in self.turns]
        try:
            text = json.dumps({"messages": messages}, ensure_ascii=False, indent=1) + "\n"
            Path(path).expanduser().write_text(text, encoding="utf-8")
        except (OSError, ValueError, RuntimeError) as error:
            raise VTBError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error

    def load(self, path: str | Path) -> None:
        """Goes on with a conversation that was saved.

        Raises:
            VTBError: If there is none; the conversation is then as it was.
        """
        try:
            messages = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))["messages"]
        except OSError as error:
            raise VTBError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            # The last is of a home that nobody has, or of brackets without end.
            raise VTBError(f"{path} is no saved conversation: {error}") from error
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise VTBError(f"{path} is no saved conversation: its messages are a list of objects with role and content")
        answered = bool(messages) and messages[-1].get("role") == "assistant"
        asked = [*messages, {"role": "user", "content": "-"}] if answered else messages
        turns = read_messages(asked, self.model.sampling_rate, self._limits, local=False)
        turns = turns[:-1] if answered else turns
        self.turns, self.answer = turns, None
        self._system = next(("".join(map(str, turn.parts)) for turn in turns if turn.role == "system"), None)

    def _user_turn(self, message: Message) -> Turn:
        rate = self.model.sampling_rate
        if isinstance(message, str):
            parts = tuple(
                whole_text(part, "the message") if isinstance(part, str) else read_sound(part, rate, self._limits)
                for part in typed_parts(message)
            )
            return Turn("user", parts or ("",))
        return read_messages([{"role": "user", "content": message}], rate, self._limits)[0]

    def _answered(self, before: list[Turn], turn: Turn, options: AnswerOptions) -> Iterator[str]:
        self.answer = Answer([*before, turn], options, self.lora_scale)
        return self._stream(before, turn, self.answer)

    def _stream(self, before: list[Turn], turn: Turn, answer: Answer) -> Iterator[str]:
        pieces = self.decoder.write([answer])
        try:
            for _, piece in pieces:
                yield piece
        finally:
            pieces.close()  # type: ignore[attr-defined]
            if answer.tokens or answer.finish in ("stop", "length"):
                self.turns = [*before, turn, Turn("assistant", (answer.text,))]
        answer.check()
        _warn(answer)


def say_together(
    sessions: Sequence[ChatSession], messages: Sequence[Message], max_new_tokens: int = 128, **options: Any
) -> list[str]:
    """Takes a turn of several conversations that share a decoder, and answers them side by side.

    Args:
        sessions: Each once.
        messages: One for each.
        max_new_tokens: Most tokens of an answer.
        **options: See ``AnswerOptions``.

    Raises:
        VTBError: If they do not share a decoder, or one cannot be answered; the conversations are then as they were.
    """
    if len({id(session) for session in sessions}) < len(sessions) or len(sessions) != len(messages):
        raise VTBError("say_together takes each conversation once, with one message for each")
    if len({id(session.decoder) for session in sessions}) > 1:
        raise VTBError("conversations that are answered together share a decoder: ChatSession(model, decoder=...)")
    how = AnswerOptions(max_new_tokens=max_new_tokens, **options)
    asked = [
        _following(session.turns, session._user_turn(message))
        for session, message in zip(sessions, messages, strict=True)
    ]
    answers = [
        Answer([*before, turn], how, session.lora_scale)
        for session, (before, turn) in zip(sessions, asked, strict=True)
    ]
    for _ in sessions[0].decoder.write(answers) if sessions else ():
        pass
    for answer in answers:
        answer.check()
        _warn(answer)
    for session, (before, turn), answer in zip(sessions, asked, answers, strict=True):
        session.answer = answer
        session.turns = [*before, turn, Turn("assistant", (answer.text,))]
    return [answer.text for answer in answers]


def _following(before: list[Turn], turn: Turn) -> tuple[list[Turn], Turn]:
    """A message behind one that has no answer goes on with it, as neighbours in a list of messages do."""
    if not before or before[-1].role != turn.role:
        return before, turn
    return before[:-1], Turn(turn.role, spaced([*before[-1].parts, *turn.parts]))


def _warn(answer: Answer) -> None:
    from nemo.utils import logging

    for note in answer.notes:
        logging.warning(f"nemo_vtb: {note}")
