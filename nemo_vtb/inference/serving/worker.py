"""The one thread that uses the model: what waits a short while is answered side by side, and more may join."""

import threading
import time
from collections.abc import Callable

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.decoder import Decoder

# Takes a piece of text; None when the answer has ended.
Deliver = Callable[[str | None], None]
_REMEMBERED = 0.8


class Busy(VTBError):
    """More waits than may wait.

    Args:
        seconds: After which it is worth while to ask again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many questions are waiting: ask again in {seconds} s")
        self.seconds = seconds


class Worker:
    """Answers in a thread of its own, in the order of asking.

    Args:
        decoder: Of the model; nobody else may use it.
        most_waiting: Answers that may wait for a place.
        window: Seconds that an idle worker waits for more, so that they begin together.
    """

    def __init__(self, decoder: Decoder, most_waiting: int = 64, window: float = 0.02) -> None:
        self.decoder = decoder
        self._most_waiting, self._window = most_waiting, window
        self._waiting: list[Answer] = []
        self._deliver: dict[int, Deliver] = {}
        self._change = threading.Condition()
        self._ends = False
        self._usual_seconds = 1.0
        self._thread = threading.Thread(target=self._run, name="vtb-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Answers that are not begun."""
        return len(self._waiting)

    @property
    def answering(self) -> int:
        """Answers under way."""
        return len(self.decoder.answers)

    @property
    def alive(self) -> bool:
        """Whether the thread is there that answers."""
        return self._thread.is_alive()

    def submit(self, answer: Answer, deliver: Deliver) -> None:
        """Puts an answer in line.

        Args:
            answer: Not begun.
            deliver: Called in the worker's thread with each piece of text, then with None; must not block.

        Raises:
            Busy: If too many are waiting.
            VTBError: If the worker was closed, or its thread has ended.
        """
        with self._change:
            if self._ends:
                raise VTBError("the server is closing")
            if not self.alive:
                raise VTBError("the thread that answers has ended: start the server again")
            if len(self._waiting) >= self._most_waiting:
                rounds = len(self._waiting) / self.decoder.most_rows + 1
                raise Busy(max(1, min(60, round(rounds * self._usual_seconds))))
            self._waiting.append(answer)
            self._deliver[id(answer)] = deliver
            self._change.notify()

    def close(self) -> None:
        """Cancels what is under way and ends the thread."""
        with self._change:
            self._ends = True
            for answer in (*self._waiting, *self.decoder.answers):
                answer.cancel()
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                if not self.decoder.answers:
                    while not self._waiting and not self._ends:
                        self._change.wait()
                    if self._ends and not self._waiting:
                        return
                    if not self._ends and len(self._waiting) < self.decoder.most_rows:
                        self._change.wait_for(lambda: self._ends, timeout=self._window)
                gone = [answer for answer in self._waiting if answer.cancelled]
                joining = self.decoder.fitting([answer for answer in self._waiting if not answer.cancelled])
                self._waiting = [answer for answer in self._waiting if answer not in gone and answer not in joining]
            for answer in gone:
                answer.ends("cancelled")
                self._end(answer)
            before = [*self.decoder.answers, *joining]
            try:
                if joining:
                    self.decoder.admit(joining)
                for answer, piece in self.decoder.step():
                    if piece:
                        self._tell(answer, piece)
            except Exception as error:
                # Whatever it is, those who come later are answered.
                self.decoder.drop(error)
                for answer in before:
                    if answer.finish is None:
                        answer.ends("error", error)
            for answer in before:
                if answer.finish is not None:
                    self._end(answer)

    def _end(self, answer: Answer) -> None:
        seconds = time.perf_counter() - answer.begun
        self._usual_seconds = _REMEMBERED * self._usual_seconds + (1 - _REMEMBERED) * seconds
        self._tell(answer, None)
        del self._deliver[id(answer)]

    def _tell(self, answer: Answer, piece: str | None) -> None:
        try:
            self._deliver[id(answer)](piece)
        except Exception:
            # Nobody is there any more to be told.
            answer.cancel()
