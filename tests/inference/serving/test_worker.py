"""The thread that answers: whatever becomes of one answer, the others and those who come later have theirs."""

import threading

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.serving.worker import Worker
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.decoder import Decoder
from nemo_vtb.inference.session.messages import Turn
from nemo_vtb.inference.session.sampling import AnswerOptions


@pytest.fixture
def worker(gated):
    worker = Worker(Decoder(gated), window=0.2)
    yield worker
    worker.close()


def asked(words="Hello.", **options):
    return Answer([Turn("user", (words,))], AnswerOptions(6, **options))


def written(worker, *answers):
    """Asks for answers at once, and waits until all have ended."""
    ended = threading.Semaphore(0)
    for answer in answers:
        worker.submit(answer, lambda piece: ended.release() if piece is None else None)
    for _ in answers:
        assert ended.acquire(timeout=60)
    return [answer.text for answer in answers]


@pytest.mark.parametrize("temperature", [1e-6, 1e-38, 1e-45, 1e-300])
def test_a_temperature_next_to_nothing_takes_the_most_likely_token(worker, temperature):
    first, second = written(worker, asked(), asked(temperature=temperature))
    assert first == second
    written(worker, asked(temperature=1e-5, seed=1))
    assert worker.alive


def test_an_answer_for_which_no_token_can_be_drawn_ends_alone(worker):
    (alone,) = written(worker, asked())
    wrong, good = asked("And you?", temperature=1.0), asked()
    wrong.drawing.token = lambda logits: 1 // 0
    assert written(worker, wrong, good) == ["", alone]
    assert wrong.finish == "error" and isinstance(wrong.error, ZeroDivisionError)


def test_an_answer_that_cannot_be_encoded_ends_alone(worker):
    (alone,) = written(worker, asked())
    wrong, good = Answer([Turn("user", (5,))]), asked()
    assert written(worker, wrong, good) == ["", alone]
    assert wrong.finish == "error" and not isinstance(wrong.error, VTBError)


def test_after_a_step_that_fails_those_who_come_later_are_answered(worker, monkeypatch):
    step, failed = worker.decoder.step, []

    def fails_once():
        if not failed:
            failed.append(worker.decoder.answers)
            raise RuntimeError("out of everything")
        return step()

    monkeypatch.setattr(worker.decoder, "step", fails_once)
    first = asked()
    written(worker, first)
    assert first.finish == "error" and str(first.error) == "out of everything"
    later = asked()
    assert written(worker, later) and later.finish in ("stop", "length")


def test_a_listener_that_is_gone_ends_its_own_answer_alone(worker):
    gone = asked(temperature=1.0, seed=1)

    def closed(piece):
        raise RuntimeError("Event loop is closed")

    worker.submit(gone, closed)
    later = asked()
    assert written(worker, later) and later.finish in ("stop", "length") and gone.cancelled
