"""Answers in the shapes of OpenAI's API."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from nemo_vtb.inference.session.answer import Answer

_REASONS = {"stop": "stop", "length": "length", "cancelled": "stop"}


class Reply:
    """The replies to one request.

    Args:
        model: The name that clients know it by.
    """

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The reply to a request that does not stream."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _REASONS[str(answer.finish)]}
        reply = {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage([answer])}
        return reply | noted([answer])

    def piece(self, text: str | None, role: bool = False) -> dict[str, Any]:
        """A chunk with a piece of text."""
        delta = ({"role": "assistant"} if role else {}) | ({"content": text} if text is not None else {})
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def last(self, answer: Answer) -> dict[str, Any]:
        """The chunk that says what ended it."""
        reason = _REASONS[str(answer.finish)]
        chunk = self._chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}])
        return chunk | noted([answer])

    def counted(self, answer: Answer) -> dict[str, Any]:
        """The chunk that counts tokens."""
        return {**self._chunk([]), "usage": usage([answer])}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}


def usage(answers: Sequence[Answer]) -> dict[str, Any]:
    """Positions of prompts, frames included, and tokens of answers."""
    prompts = [answer.prompt for answer in answers if answer.prompt is not None]
    fed = sum(len(prompt.keys) for prompt in prompts)
    written = sum(len(answer.tokens) for answer in answers)
    frames = sum(len(frames) for prompt in prompts for _, frames in prompt.clips)
    kept = sum(answer.kept for answer in answers)
    return {
        "prompt_tokens": fed,
        "completion_tokens": written,
        "total_tokens": fed + written,
        "prompt_tokens_details": {"cached_tokens": kept, "audio_tokens": frames},
    }


def noted(answers: Sequence[Answer], most_tokens: int | None = None) -> dict[str, list[str]]:
    """What a person should know of answers, in a field of this server's own; nothing where there is nothing.

    Args:
        answers: To one request.
        most_tokens: Of each, where the reply has no other place to say that one was cut off at it.
    """
    notes = [note for answer in answers for note in answer.notes]
    cut = sum(answer.finish == "length" for answer in answers)
    if most_tokens is not None and cut:
        pieces = "" if len(answers) == 1 else f" in {cut} of {len(answers)} pieces"
        notes.append(
            f"the transcript was cut off at {most_tokens} tokens{pieces}: start the server with more --max-tokens"
        )
    return {"notes": notes} if notes else {}


def error(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
