"""One conversation over the ranks that hold an LLM between them: the first one talks, the others answer along."""

from collections.abc import Iterator, Sequence

from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.decoder import Decoder
from nemo_vtb.parts.ranks import said_by_first

_INTERRUPTED = 130


class SharedDecoder(Decoder):
    """A decoder whose every answer is written by all ranks of the LLM, whichever of them was asked: the first.

    Recordings, words and options go from there to the others; only the first needs the files. The others call
    ``follow`` and nothing else.

    Args:
        model: Cut over the ranks of this run.
    """

    def write(self, answers: Sequence[Answer]) -> Iterator[tuple[Answer, str]]:
        """See ``Decoder.write``; for the first rank.

        Raises:
            SystemExit: If it is interrupted in the middle of a step: the ranks are then out of step for good.
        """
        said_by_first([(answer.turns, answer.options, answer.lora_scale) for answer in answers])
        try:
            yield from super().write(answers)
        except KeyboardInterrupt:
            raise SystemExit(_INTERRUPTED) from None

    def follow(self) -> None:
        """Answers along until the first rank calls ``dismiss``; for the other ranks."""
        while (asked := said_by_first(None)) is not None:
            for _ in super().write([Answer(*one) for one in asked]):
                pass

    def dismiss(self) -> None:
        """Lets the others go; for the first rank."""
        said_by_first(None)

    def unwanted(self, answer: Answer) -> bool:
        """As the first rank had it when the step began: a cancel may come at any moment."""
        return id(answer) in self._stopped

    def admit(self, answers: Sequence[Answer]) -> None:
        """See ``Decoder.admit``."""
        self._agree(answers)
        super().admit(answers)

    def step(self) -> list[tuple[Answer, str]]:
        """See ``Decoder.step``."""
        self._agree(self.answers)
        return super().step()

    def _agree(self, answers: Sequence[Answer]) -> None:
        stopped = said_by_first([answer.cancelled for answer in answers])
        self._stopped = {id(answer) for answer, ended in zip(answers, stopped, strict=True) if ended}
