"""From messages, or a written prompt with recordings, to what the model is fed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import Sound, read_sound
from nemo_vtb.inference.session.messages import Turn, read_messages, whole_text
from nemo_vtb.parts.frame_rule import FrameRule
from nemo_vtb.parts.prompts.control_tokens import BREAK, broken
from nemo_vtb.parts.prompts.turn_mask import without_tag


class VoiceTextBlenderProcessor(ProcessorMixin):
    """A tokenizer, and the length of recordings in frames.

    Args:
        tokenizer: With the audio placeholder and the chat template of the folder.
        audio_token: The placeholder of a recording.
        sampling_rate: In Hz.
        frame_rule: Fields of ``nemo_vtb.parts.frame_rule.FrameRule``.
        controls: What the tokenizer takes for control tokens, which stay text in people's words.
        chat_template: See ``ProcessorMixin``.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        audio_token: str = "<|audio|>",
        sampling_rate: int = 16000,
        frame_rule: Mapping[str, Any] | None = None,
        controls: Sequence[str] = (),
        chat_template: str | None = None,
    ) -> None:
        super().__init__(tokenizer, chat_template=chat_template)
        self.audio_token, self.sampling_rate = audio_token, sampling_rate
        self.audio_token_id = tokenizer.convert_tokens_to_ids(audio_token)
        self.frame_rule, self.controls = dict(frame_rule or {}), list(controls)
        self._rule = FrameRule(**self.frame_rule) if frame_rule else None
        self._controls = re.compile("|".join(map(re.escape, self.controls))) if self.controls else None

    @property
    def model_input_names(self) -> list[str]:
        """What a call may return."""
        return ["input_ids", "attention_mask", "audio_values", "audio_lengths"]

    def frames(self, samples: int) -> int:
        """Positions that a recording of so many samples takes.

        Raises:
            VTBError: If the folder does not say.
        """
        if self._rule is None:
            raise VTBError(
                "processor_config.json has no frame_rule: how many frames this speech encoder makes of a clip does not "
                "follow from the clip's length; use nemo_vtb.ChatSession"
            )
        return self._rule.frames(samples)

    def __call__(  # type: ignore[override]
        self, text: str | Sequence[str], audio: Any = None, **options: Any
    ) -> BatchFeature:
        """Encodes written prompts with recordings.

        Args:
            text: Prompts as a chat template writes them, with the placeholder where a recording stands.
            audio: Recordings of all prompts in order: whatever ``read_sound`` takes, or samples ``(T,)`` at
                ``sampling_rate``.
            **options: What Transformers' processors take, where it says what is done anyway: tensors of PyTorch, padded
                to the longest on the left, nothing cut off.

        Returns:
            int64 ``input_ids`` and ``attention_mask`` ``(B, T)``, and with recordings float32 ``audio_values``
            ``(clips, samples)`` and int64 ``audio_lengths`` ``(clips,)``.

        Raises:
            VTBError: If placeholders and recordings do not match, a recording cannot be read, or an option asks for
                something else.
        """
        self._check(options)
        prompts = [text] if isinstance(text, str) else list(text or ())
        if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
            raise VTBError("no prompt: text is one, or a list of them, as apply_chat_template writes them")
        if audio is not None and (isinstance(audio, str | bytes | tuple | Sound) or np.ndim(audio) == 1):
            audio = audio if isinstance(audio, list) and not _is_numbers(audio) else [audio]
        return self._batch(prompts, [self._sound(source) for source in (audio if audio is not None else ())])

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        tokenize: bool = False,
        add_generation_prompt: bool = True,
        return_dict: bool = True,
        continue_final_message: bool = False,
        processor_kwargs: Mapping[str, Any] | None = None,
        **template_options: Any,
    ) -> Any:
        """Writes conversations that end with the user's turn, up to the header of the answer.

        Args:
            conversation: Messages of one, or of several; contents as in ``nemo_vtb.ChatSession``, and parts of type
                ``audio`` with ``audio``, ``path`` or ``url``.
            chat_template: Another one than the folder's.
            tokenize: Whether to return ids, with the recordings.
            add_generation_prompt: An answer's header always follows.
            return_dict: See ``ProcessorMixin``.
            continue_final_message: Not supported.
            processor_kwargs: Options of a call.
            **template_options: Likewise, and for the template, ``enable_thinking`` for instance.

        Returns:
            With ``tokenize`` what a call returns, or its ids alone without ``return_dict``; else the text.

        Raises:
            VTBError: If a message is wrong, or an option of a call asks for something else than is done.
        """
        if continue_final_message or not add_generation_prompt:
            raise VTBError("the last message is the user's, which is answered: there is nothing to continue")
        of_call = {key: value for key, value in template_options.items() if key in _OF_CALLS}
        known = {key: value for key, value in template_options.items() if key not in _OF_CALLS}
        self._check({**of_call, **(processor_kwargs or {})})
        if isinstance(conversation, Mapping) or not conversation:
            raise VTBError("no conversation: it is a list of messages, or a list of such lists")
        single = isinstance(conversation[0], Mapping)
        talks = [
            read_messages([_usual(message, self.sampling_rate) for message in talk], self.sampling_rate)
            for talk in ([conversation] if single else conversation)
        ]
        texts = [self._written(turns, chat_template, known) for turns in talks]
        if not tokenize:
            plain = [text.replace(BREAK, "") for text in texts]
            return plain[0] if single else plain
        sounds = [sound for turns in talks for turn in turns for sound in turn.sounds]
        batch = self._batch(texts, sounds)
        return batch if return_dict else batch["input_ids"]

    def post_process_image_text_to_text(self, generated_outputs: Any, **options: Any) -> list[str]:
        """The texts of answers, for Transformers' pipelines."""
        return self.batch_decode(generated_outputs, skip_special_tokens=True)

    def _check(self, options: Mapping[str, Any]) -> None:
        done = {**_OF_CALLS, "sampling_rate": (self.sampling_rate,)}
        for name, value in options.items():
            if value is None:
                continue
            if name not in done:
                raise VTBError(f"{name} is no option of this processor, which takes text and audio: leave it out")
            if not any(type(value) is type(right) and value == right for right in done[name]):
                raise VTBError(
                    f"{name} is {value!r}: prompts are padded to the longest on the left, nothing is cut off, and they "
                    f"come as tensors of PyTorch, recordings at {self.sampling_rate} Hz: leave it out"
                )

    def _written(self, turns: Sequence[Turn], template: str | None, options: Mapping[str, Any]) -> str:
        chat = [{"role": turn.role, "content": "".join(map(self._part, turn.parts))} for turn in turns]
        return self.tokenizer.apply_chat_template(
            chat, chat_template=template, tokenize=False, add_generation_prompt=True, **options
        )

    def _part(self, part: str | Sound) -> str:
        if isinstance(part, Sound):
            return self.audio_token
        return broken(without_tag(part, self.audio_token), self._controls)

    def _sound(self, source: Any) -> Sound:
        if np.ndim(source) == 1 and not isinstance(source, str | bytes | tuple | Sound):
            source = (source, self.sampling_rate)
        return read_sound(source, self.sampling_rate)

    def _batch(self, texts: Sequence[str], sounds: Sequence[Sound]) -> BatchFeature:
        counts = [self.frames(len(sound.samples)) for sound in sounds]
        rows, at = [], 0
        for text in texts:
            row: list[int] = []
            for token in self._ids(text):
                if token != self.audio_token_id:
                    row.append(token)
                    continue
                row += [token] * (counts[at] if at < len(counts) else 1)
                at += 1
            rows.append(row)
        if at != len(counts):
            raise VTBError(f"the prompts hold {at} audio placeholders for {len(counts)} clips")
        longest, pad = max(map(len, rows)), self.tokenizer.pad_token_id or 0
        made = {
            "input_ids": torch.tensor([[pad] * (longest - len(row)) + row for row in rows]),
            "attention_mask": torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows]),
        }
        if sounds:
            clips = [torch.from_numpy(np.asarray(sound.samples, dtype=np.float32)) for sound in sounds]
            made["audio_values"] = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
            made["audio_lengths"] = torch.tensor([len(clip) for clip in clips])
        return BatchFeature(made)

    def _ids(self, text: str) -> list[int]:
        pieces = (piece for piece in whole_text(text, "text").split(BREAK) if piece)
        return [token for piece in pieces for token in self.tokenizer.encode(piece, add_special_tokens=False)]


# Options of Transformers' processors, and the values that say what is done anyway.
_OF_CALLS: dict[str, tuple[Any, ...]] = {
    "return_tensors": ("pt",),
    "padding": (True, "longest"),
    "padding_side": ("left",),
    "truncation": (False,),
    "max_length": (),
    "sampling_rate": (),
    "add_special_tokens": (False,),
    "return_attention_mask": (True,),
    "return_assistant_tokens_mask": (False,),
    "load_audio_from_video": (False,),
}


def _usual(message: Any, rate: int) -> Any:
    """A message with Transformers' parts of type ``audio`` as ``read_messages`` knows them."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str) or not isinstance(content, Sequence):
        return message
    return {**message, "content": [_usual_part(part, rate) for part in content]}


def _usual_part(part: Any, rate: int) -> Any:
    if not isinstance(part, Mapping) or part.get("type") != "audio":
        return part
    source = next((part[key] for key in ("audio", "path", "url") if part.get(key) is not None), None)
    if np.ndim(source) == 1 and not isinstance(source, str | bytes | tuple):
        source = (source, rate)
    return {**part, "audio": source}


def _is_numbers(source: Sequence[Any]) -> bool:
    return bool(source) and isinstance(source[0], int | float)
