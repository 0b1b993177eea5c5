"""Answers in the shapes of OpenAI's API."""

import time
import uuid
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
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(answer)}

    def piece(self, text: str | None, role: bool = False) -> dict[str, Any]:
        """A chunk with a piece of text."""
        delta = ({"role": "assistant"} if role else {}) | ({"content": text} if text is not None else {})
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def last(self, answer: Answer) -> dict[str, Any]:
        """The chunk that says what ended it."""
        reason = _REASONS[str(answer.finish)]
        return self._chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}])

    def counted(self, answer: Answer) -> dict[str, Any]:
        """The chunk that counts tokens."""
        return {**self._chunk([]), "usage": usage(answer)}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}


def usage(answer: Answer) -> dict[str, Any]:
    """Positions of the prompt, frames included, and tokens of the answer."""
    prompt = len(answer.prompt.keys) if answer.prompt is not None else 0
    frames = sum(len(frames) for _, frames in answer.prompt.clips) if answer.prompt is not None else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(answer.tokens),
        "total_tokens": prompt + len(answer.tokens),
        "prompt_tokens_details": {"cached_tokens": answer.kept, "audio_tokens": frames},
    }


def error(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
