"""What happens on the page between a message and its answer: one worker behind it, a conversation for each visitor."""

import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import Limits, Sound, read_sound
from nemo_vtb.inference.serving.worker import Worker
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.messages import Turn, spaced
from nemo_vtb.inference.session.sampling import AnswerOptions
from nemo_vtb.inference.session.shown import shown

_N_FFT, _HOP = 512, 160
_DECIBELS = 80.0


class Talk:
    """One visitor's conversation.

    Args:
        turns: With the model.
        base: With the untouched LLM, where it was asked beside.
        asked: Of each exchange, what was typed, the files as they were uploaded, and the answers.
    """

    def __init__(self, turns: Sequence[Turn] = (), base: Sequence[Turn] = (), asked: Sequence["Exchange"] = ()) -> None:
        self.turns, self.base, self.asked = list(turns), list(base), list(asked)

    def without_last(self) -> "Talk":
        """The conversation before the last message."""
        return Talk(self.turns[:-2], self.base[:-2], self.asked[:-1])


class Exchange(NamedTuple):
    """A message and its answers.

    Attributes:
        text: As typed.
        files: As they were uploaded.
        answer: Of the model.
        base: Of the untouched LLM; None where it was not asked.
    """

    text: str
    files: Sequence[str]
    answer: str
    base: str | None


@dataclass(frozen=True)
class Progress:
    """An answer so far.

    Attributes:
        text: Of the model.
        base: Of the untouched LLM; None where it is not asked.
        figures: In words.
        fed: What the model was fed.
        ended: Whether that is all.
    """

    text: str
    base: str | None
    figures: str
    fed: str
    ended: bool


class Talker:
    """Answers the page's messages.

    Args:
        worker: Has the model.
        limits: Of each recording.
    """

    def __init__(self, worker: Worker, limits: Limits) -> None:
        self._worker, self._limits = worker, limits

    def sounds(self, files: Sequence[str]) -> list[Sound]:
        """Reads uploads.

        Raises:
            VTBError: Names the one that is no recording.
        """
        rate = self._worker.decoder.model.sampling_rate
        names = [str(file).replace("\\", "/").rpartition("/")[2] for file in files]
        return [read_sound(file, rate, self._limits, name) for file, name in zip(files, names, strict=True)]

    def answer(
        self,
        talk: Talk,
        text: str,
        sounds: Sequence[Sound],
        files: Sequence[str],
        system: str,
        scale: float,
        beside: bool,
        options: AnswerOptions,
    ) -> Iterator[Progress]:
        """Takes a message, and yields the answer as it grows; ``talk`` goes on when it has ended.

        Raises:
            VTBError: If it cannot be answered; ``talk`` is then as it was.
        """
        turn = Turn("user", spaced([*([text] if text.strip() else []), *sounds]))
        if not turn.parts:
            raise VTBError("type a message, or record one")
        began = [Turn("system", (system.strip(),))] if system.strip() else []
        mine = Answer([*began, *talk.turns, turn], options, scale)
        base = Answer([*began, *(talk.base or talk.turns), turn], options, 0.0) if beside else None
        asked = [answer for answer in (mine, base) if answer is not None]
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        try:
            for answer in asked:
                self._worker.submit(answer, pieces.put)
            waiting = len(asked)
            while waiting:
                waiting -= pieces.get() is None
                while waiting and not pieces.empty():
                    waiting -= pieces.get() is None
                yield self._progress(mine, base, not waiting)
        finally:
            for answer in asked:
                answer.cancel()
            if mine.error is None and (mine.tokens or mine.finish in ("stop", "length")):
                said = [*talk.turns, turn, Turn("assistant", (mine.text,))]
                talk.base = [*(talk.base or talk.turns), turn, Turn("assistant", (base.text,))] if base else []
                exchange = Exchange(text, files, mine.text, base.text if base else None)
                talk.turns, talk.asked = said, [*talk.asked, exchange]
        for answer in asked:
            answer.check()

    def _progress(self, mine: Answer, base: Answer | None, ended: bool) -> Progress:
        figures = []
        if mine.seconds_to_first is not None:
            figures.append(f"first token after {mine.seconds_to_first:.2f} s")
        if mine.tokens_per_second:
            figures.append(f"{mine.tokens_per_second:.1f} tokens/s")
        if mine.prompt is not None:
            figures.append(f"{mine.kept} of {len(mine.prompt.keys)} positions known from before")
            figures.append(f"{mine.prompt.seconds:.1f} s of sound")
            figures.append(f"LoRA at {mine.voice:g}" if mine.voice else "the untouched LLM: no recording, no LoRA")
        if mine.finish == "length":
            figures.append("cut off at the most tokens of an answer")
        fed = "\n".join(shown(self._worker.decoder.model, mine)) if ended and mine.prompt is not None else ""
        return Progress(mine.text, None if base is None else base.text, "; ".join([*mine.notes, *figures]), fed, ended)


def spectrogram(sound: Sound) -> np.ndarray:
    """A picture of a recording: uint8 ``(height, width)``, time to the right, up to half its rate, 80 dB of grey."""
    signal = torch.from_numpy(sound.samples)
    power = torch.stft(signal, _N_FFT, _HOP, window=torch.hann_window(_N_FFT), return_complex=True).abs().square()
    decibels = 10 * power.clamp(min=1e-10).log10()
    grey = ((decibels - decibels.max()) / _DECIBELS + 1).clamp(0, 1)
    return (grey.flip(0).numpy() * 255).astype(np.uint8)
