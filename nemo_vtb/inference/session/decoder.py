"""Writes answers side by side, one token of each at a time; answers may join while others are under way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import Sound
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.caches import bears_gaps, can_be_cut, side_by_side, without_rows
from nemo_vtb.inference.session.kept import KeptPasts, Past
from nemo_vtb.inference.session.prompt import PromptWriter, sound_key
from nemo_vtb.models.answers.generate import left_padded
from nemo_vtb.models.answers.heard import HeardClips
from nemo_vtb.models.answers.named_audio import padded_clips
from nemo_vtb.models.proof import try_out_on_device
from nemo_vtb.modules.llm.parts import position_limit
from nemo_vtb.parts.encode import sub_batches
from nemo_vtb.parts.ranks import said_by_first

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

# Positions of a prompt that go through the LLM at a time: bounds what attention takes, and how long a cancel waits.
_BLOCK = 512
# Of frames of recordings that are kept.
_FRAME_BYTES = 1 << 28
# For the grouping of prompts: what a call of the LLM costs is four of these.
_UNIT = 16


class Decoder:
    """Answers of one model that are written together.

    Args:
        model: In evaluation mode.
        keep_megabytes: Of keys and values that are kept for when a conversation goes on.
        most_rows: Answers at a time.

    Attributes:
        answers: Those under way.
        frames: Of recordings.
        most_rows: Answers at a time; 1 where an LLM must be asked for one alone.
        positions: That the LLM has.
    """

    def __init__(self, model: "VoiceTextBlender", keep_megabytes: float = 1024.0, most_rows: int = 32) -> None:
        try_out_on_device(model)
        self.model, self.writer, self.frames = model, PromptWriter(model), HeardClips(model, _FRAME_BYTES)
        self._pasts = KeptPasts(model.backbone, keep_megabytes)
        alone = not (model.backbone.pads and can_be_cut(model.backbone))
        self.most_rows = 1 if alone else most_rows
        self.positions = position_limit(model.backbone.causal_lm)
        self.answers: list[Answer] = []
        self._cache: Any = None
        self._mask = self._logits = torch.zeros(0)
        self._fed: tuple[Tensor, Tensor] | None = None
        self._drawn: list[int] = []

    @property
    def kept_megabytes(self) -> float:
        """What is kept now."""
        return self._pasts.held

    @property
    def room(self) -> int:
        """Answers that may join now."""
        return self.most_rows - len(self.answers)

    def fitting(self, waiting: Sequence[Answer]) -> list[Answer]:
        """Those that may join now, the first in line first: of one LoRA scale, that of those under way."""
        if not waiting:
            return []
        scale = (self.answers or waiting)[0].lora_scale
        return [answer for answer in waiting if answer.lora_scale == scale][: self.room]

    def unwanted(self, answer: Answer) -> bool:
        """Whether nobody waits for the rest of an answer."""
        return answer.cancelled

    def write(self, answers: Sequence[Answer]) -> Iterator[tuple[Answer, str]]:
        """Writes answers to their end, and yields each piece of text as it comes.

        Whoever stops listening cancels those that are not written to their end; what they said is kept.
        """
        waiting = list(answers)
        try:
            while waiting or self.answers:
                if joining := self.fitting(waiting):
                    waiting = [answer for answer in waiting if answer not in joining]
                    self.admit(joining)
                yield from (said for said in self.step() if said[1])
        except GeneratorExit:
            for answer in self.answers:
                answer.cancel()
            self.step()
            raise
        except BaseException as error:
            # Stopped in the middle of a step, perhaps between two layers.
            self.drop(error if isinstance(error, Exception) else VTBError("interrupted"))
            raise

    @torch.no_grad()
    def admit(self, answers: Sequence[Answer]) -> None:
        """Reads the prompts of answers and lets them join; one that cannot be read ends with its error.

        Args:
            answers: At most ``room``, of one LoRA scale, that of those under way.
        """
        assert len(answers) <= self.room
        ready: list[tuple[Answer, Past]] = []
        try:
            with self._set(answers[0].lora_scale if answers else None):
                ready = self._prompts([answer for answer in answers if not self.unwanted(answer)])
                for group in self._read_together(ready):
                    self._read([ready[number] for number in group])
        except Exception as error:
            # Before there are prompts, those under way were not touched.
            if ready:
                self.drop(error)
            for answer in answers:
                if answer.finish is None:
                    answer.ends("error", error)
        for answer in answers:
            if self.unwanted(answer) and answer.finish is None:
                answer.ends("cancelled")

    @torch.no_grad()
    def step(self) -> list[tuple[Answer, str]]:
        """Draws the next token of every answer; one for which none can be drawn ends alone, with its error.

        Returns:
            Each answer under way with the piece of text that it gained; those that have ended are none of them any
            more afterwards.
        """
        try:
            self._advance()
        except Exception as error:
            self.drop(error)
        said: list[tuple[Answer, str]] = []
        for answer, logits in zip(self.answers, self._logits, strict=True):
            if self.unwanted(answer):
                said.append((answer, answer.ends("cancelled")))
                continue
            try:
                said.append((answer, self._drawn_for(answer, logits)))
            except Exception as error:
                said.append((answer, answer.ends("error", error)))
        going = [row for row, answer in enumerate(self.answers) if answer.finish is None]
        if len(going) < len(self.answers):
            self._take_out(going)
        # Fed when the next ones are asked for: nobody waits for that to read this one.
        self._drawn = [answer.tokens[-1] for answer in self.answers]
        return said

    def _drawn_for(self, answer: Answer, logits: Tensor) -> str:
        """The piece of text that an answer's next token completes."""
        room = self.positions - len(answer.prompt.keys) - len(answer.tokens)  # type: ignore[union-attr]
        token = answer.drawing.token(logits)
        if self.model.backbone.tensor_parallel and not answer.drawing.greedy:
            token = said_by_first(token)
        return answer.takes(token, self.writer.stops, self.model.tokenizer, room)

    def drop(self, error: Exception) -> list[Answer]:
        """Ends all answers under way with an error, and returns them; nothing of them is kept."""
        gone, self.answers = self.answers, []
        self._forget()
        for answer in gone:
            answer.ends("error", error)
        return gone

    def _prompts(self, answers: Sequence[Answer]) -> list[tuple[Answer, Past]]:
        encoded = []
        for answer in answers:
            try:
                encoded.append((answer, self.writer.ids(answer.turns, answer.options.thinking)))
            except Exception as error:
                answer.ends("error", error)
        sounds = [[sound for turn in answer.turns for sound in turn.sounds] for answer, _ in encoded]
        frames = iter(self._heard([sound for own in sounds for sound in own]))
        ready = []
        for (answer, ids), own in zip(encoded, sounds, strict=True):
            answer.prompt = self.writer.prompt(ids, own, [next(frames) for _ in own])
            if len(answer.prompt.keys) >= self.positions:
                answer.ends(
                    "error",
                    VTBError(
                        f"the conversation takes {len(answer.prompt.keys)} positions and the LLM has {self.positions}: "
                        "start over, or send shorter messages and recordings"
                    ),
                )
                continue
            gated_out = self.model.gated and not answer.prompt.spoken
            answer.voice = 0.0 if gated_out else self._acting()
            past = self._pasts.begin(answer.voice, answer.prompt.keys)
            answer.kept = len(past.keys)
            ready.append((answer, past))
        return ready

    def _heard(self, sounds: Sequence[Sound]) -> list[Tensor]:
        """Frames ``(F, H)`` of recordings."""

        def batch(places: list[int]) -> dict[str, Any]:
            audios, lengths = padded_clips([sounds[place].samples for place in places], self.model.device)
            return {"audios": audios, "audio_lens": lengths}

        with self.model.arithmetic():
            return self.frames.of(list(map(sound_key, sounds)), batch)

    def _read_together(self, ready: Sequence[tuple[Answer, Past]]) -> list[list[int]]:
        """Numbers of those whose new positions are fed at a time."""
        if not bears_gaps(self.model.backbone):
            # Where one has more to be fed than another, padding would stand behind the other's past.
            return [[number] for number in range(len(ready))]
        lengths = [len(answer.prompt.keys) - len(past.keys) for answer, past in ready]  # type: ignore[union-attr]
        return sub_batches([length / _UNIT for length in lengths], self.most_rows * _BLOCK / _UNIT)

    def _read(self, group: Sequence[tuple[Answer, Past]]) -> None:
        """Feeds what is new of each prompt, and lets its answer join."""
        backbone = self.model.backbone
        answers = [answer for answer, _ in group]
        with self.model.arithmetic():
            fed = [self.writer.embeds(answer.prompt, len(past.keys)) for answer, past in group]  # type: ignore[arg-type]
            embeds, new, ids = left_padded(fed, backbone.per_layer.pad)
            longest = new.shape[1]
            if not backbone.caches:
                self._join(answers, None, new, self._next(embeds, new, None, ids, answers), (embeds, ids))
                return
            known = [new.new_ones(1, len(past.keys)) for _, past in group]
            cache, mask = side_by_side([past.cache for _, past in group], known, backbone)
            for start in range(0, longest, _BLOCK):
                if all(self.unwanted(answer) for answer in answers):
                    return
                end = min(start + _BLOCK, longest)
                mask = torch.cat([mask, new[:, start:end]], dim=1)
                logits = self._next(embeds[:, start:end], mask, cache, ids[:, start:end], answers, end == longest)
            self._join(answers, cache, mask, logits)

    def _join(
        self,
        answers: Sequence[Answer],
        cache: Any,
        mask: Tensor,
        logits: Tensor,
        fed: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        if self.answers:
            self._advance()
            cache, mask = side_by_side([self._cache, cache], [self._mask, mask], self.model.backbone)
            logits = torch.cat([self._logits, logits])
        self.answers += answers
        self._cache, self._mask, self._logits, self._fed = cache, mask, logits, fed

    def _advance(self) -> None:
        """Feeds the tokens that were drawn last."""
        if not self._drawn:
            return
        tokens, self._drawn = self._drawn, []
        with self._set(self.answers[0].lora_scale), self.model.arithmetic():
            ids = torch.tensor(tokens, device=self.model.device)[:, None]
            embeds = self.model.backbone.embed(ids[:, 0])[:, None]
            if self._fed is not None:
                before, spelt = self._fed
                embeds, ids = torch.cat([before, embeds], 1), torch.cat([spelt, ids], 1)
                self._fed = embeds, ids
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
            self._logits = self._next(embeds, self._mask, self._cache, ids, self.answers)

    def _next(
        self, embeds: Tensor, mask: Tensor, cache: Any, ids: Tensor, answers: Sequence[Answer], last: bool = True
    ) -> Tensor:
        gate = None
        if self.model.gated:
            spoken = [float(answer.prompt.spoken) for answer in answers]  # type: ignore[union-attr]
            gate = torch.tensor(spoken, device=embeds.device)[:, None, None]
        hidden = self.model.backbone.next_hidden_states(embeds, mask, cache, ids, gate)
        return self.model.backbone.project(hidden).float() if last else hidden

    def _take_out(self, going: Sequence[int]) -> None:
        """Leaves the rows ``going``, and keeps the past of those others that did not fail."""
        backbone = self.model.backbone
        for row, answer in enumerate(self.answers):
            if row in going or self._cache is None or answer.finish == "error":
                continue
            positions = int(self._mask[row].sum())
            whole = len(self.answers) == 1 and positions == self._mask.shape[1]
            own = self._cache if whole else without_rows(self._cache, self._mask, [row], backbone)[0]
            self._pasts.keep(Past(answer.voice, answer.fed(positions), own))
        self.answers = [self.answers[row] for row in going]
        if not going:
            self._forget()
            return
        self._cache, self._mask = without_rows(self._cache, self._mask, going, backbone)

    def _forget(self) -> None:
        self._cache = self._fed = None
        self._drawn = []
        self._mask = self._logits = torch.zeros(0)

    def _acting(self) -> float:
        """How much of LoRA acts, whoever has switched it off."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = (part for part in self.model.llm.modules() if isinstance(part, BaseTunerLayer))
        first = next(layers, None)
        return 0.0 if first is None or first.disable_adapters else self.model.backbone.lora_scale

    @contextmanager
    def _set(self, scale: float | None) -> Iterator[None]:
        if scale is None or scale == self.model.backbone.lora_scale:
            yield
            return
        with self.model.backbone.scaled_lora(scale):
            yield
