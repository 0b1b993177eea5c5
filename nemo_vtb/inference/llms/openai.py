"""An LLM behind a server that speaks OpenAI's protocol: vLLM, llama.cpp, NIM and the like."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.interface import Reply, Sampling, without_thoughts

# Answers that may be better next time: timeouts, conflicts, rate limits. So may all from 500 on.
_PASSING = (408, 409, 425, 429)
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
# What servers call an answer that came to its end: OpenAI's word, then those of others.
_ENDED = ("stop", "eos_token", "stop_sequence", "eos", "end_turn")


class OpenAILLM:
    """A model of a server; see ``LLM``.

    Requests that fail for a while (no connection, no answer in time, an answer cut short, too many requests, a fault of
    the server) are sent again with growing pauses, or after the pause the server asks for.

    Args:
        model: As the server calls it.
        base_url: Up to and with ``/v1``.
        api_key_env: The environment variable that holds the key.
        concurrency: Requests at a time.
        timeout: Seconds without an answer after which a request is sent again.
        retries: How often.

    Raises:
        VTBError: If there is no such server, model or key.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key_env: str | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        retries: int = 6,
    ) -> None:
        import httpx

        self.name = model
        self._url, self._retries, self._concurrency = base_url.rstrip("/"), retries, concurrency
        headers = {"Authorization": f"Bearer {_key(api_key_env)}"} if api_key_env else {}
        limits = httpx.Limits(max_connections=concurrency)
        self._client = httpx.Client(timeout=timeout, headers=headers, limits=limits)
        listed, _ = self._request("GET", "models", None, Event())
        names = [str(entry["id"]) for entry in listed.get("data") or []]
        if model not in names:
            raise VTBError(f"{self._url} has no model '{model}'; it has {', '.join(names)}: set llm.model")

    def chat(self, conversations: Sequence[Sequence[Mapping[str, str]]], sampling: Sequence[Sampling]) -> list[Reply]:
        """See ``LLM``."""
        bodies = [{"messages": [dict(turn) for turn in turns]} for turns in conversations]
        replies = self._all("chat/completions", bodies, sampling)
        return [replace(reply, text=without_thoughts(reply.text)) for reply in replies]

    def complete(self, prompts: Sequence[str], sampling: Sequence[Sampling]) -> list[Reply]:
        """See ``LLM``."""
        return self._all("completions", [{"prompt": prompt} for prompt in prompts], sampling)

    def _all(self, path: str, bodies: Sequence[dict[str, Any]], sampling: Sequence[Sampling]) -> list[Reply]:
        stopped = Event()
        with ThreadPoolExecutor(self._concurrency) as pool:
            futures = [
                pool.submit(self._one, path, {"model": self.name, **body, **_fields(how)}, stopped)
                for body, how in zip(bodies, sampling, strict=True)
            ]
            try:
                done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done if waiting else futures:
                    future.result()
            except BaseException:
                # What waits for another try would only wait in vain.
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return [future.result() for future in futures]

    def _one(self, path: str, body: dict[str, Any], stopped: Event) -> Reply:
        answer, retries = self._request("POST", path, body, stopped)
        choice = answer["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        tokens = (answer.get("usage") or {}).get("completion_tokens", 0)
        return Reply(text or "", tokens, choice.get("finish_reason") in _ENDED, retries)

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, stopped: Event
    ) -> tuple[dict[str, Any], int]:
        """Returns the answer, and how often the request was sent again."""
        import httpx

        problem = ""
        for attempt in range(self._retries + 1):
            pause = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
            try:
                response = self._client.request(method, f"{self._url}/{path}", json=body)
                if response.status_code < 400:
                    return _checked(response.json(), path), attempt
                problem = f"HTTP {response.status_code}: {_message(response)}"
                if response.status_code < 500 and response.status_code not in _PASSING:
                    raise VTBError(f"{self._url}/{path} refuses the request: {problem}{_hint(response.status_code)}")
                pause = _asked_wait(response.headers.get("Retry-After")) or pause
            except httpx.UnsupportedProtocol as error:
                raise VTBError(f"llm.base_url={self._url}: {error}") from error
            except (httpx.HTTPError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
            if attempt < self._retries and stopped.wait(pause):
                break
        raise VTBError(
            f"{self._url}/{path} gave no answer in {self._retries + 1} tries; the last error: {problem}. "
            "Start the server, or set llm.base_url, llm.timeout or llm.concurrency; then run the same command again: "
            "it goes on with what is missing"
        )


def _fields(sampling: Sampling) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed % 2**31,  # servers keep it in 32 bits
    }
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.schema is not None:
        schema = {"name": "reply", "strict": True, "schema": dict(sampling.schema)}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields


def _checked(answer: Any, path: str) -> dict[str, Any]:
    """Refuses what is JSON but no answer, as an interrupted server or a proxy sends it."""
    expected = "data" if path == "models" else "choices"
    if not isinstance(answer, dict) or not isinstance(answer.get(expected), list):
        raise ValueError(f"the answer has no {expected}: {str(answer)[:200]}")
    if expected == "choices":
        choice = answer["choices"][0] if answer["choices"] else None
        message = choice.get("message", choice) if isinstance(choice, dict) else None
        if not isinstance(message, dict) or not message.keys() & {"content", "text"}:
            raise ValueError(f"the answer has no text: {str(answer)[:200]}")
    return answer


def _key(variable: str) -> str:
    key = os.environ.get(variable)
    if not key:
        raise VTBError(f"llm.api_key_env={variable}: the environment has no such variable; export it with the key")
    return key


def _message(response: Any) -> str:
    """The server's own words, out of the JSON it wraps them in."""
    try:
        body = response.json()
        error = body.get("error", body)
        return str(error["message"] if isinstance(error, dict) and "message" in error else error)[:500]
    except (ValueError, AttributeError):
        return response.text[:500]


def _hint(status: int) -> str:
    return {
        401: "; set llm.api_key_env to the variable that holds the key",
        404: "; llm.base_url ends in /v1, as a rule",
    }.get(status, "")


def _asked_wait(header: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or as a date; None where it says nothing."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)
