"""From the JSON of OpenAI's clients to what is asked, with nothing left out in silence."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.session.messages import shortened
from nemo_vtb.inference.session.sampling import AnswerOptions, whole_number

# Asked of other models, and answered here by what is the same as not asking.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
# Of no consequence for an answer.
_IGNORED = frozenset("user metadata store service_tier parallel_tool_calls safety_identifier prompt_cache_key".split())
_OWN = frozenset(
    "model messages stream stream_options max_tokens max_completion_tokens temperature top_p top_k stop seed "
    "chat_template_kwargs".split()
)


class Asked(NamedTuple):
    """What a request for a chat completion asks.

    Attributes:
        messages: As they came.
        options: How to answer.
        stream: Whether in pieces.
        usage: Whether the last piece counts tokens.
    """

    messages: Any
    options: AnswerOptions
    stream: bool
    usage: bool


def read_request(body: Any, usual: Mapping[str, Any], most_tokens: int) -> Asked:
    """Reads the body of ``/v1/chat/completions``.

    Args:
        body: Decoded JSON.
        usual: Keywords of ``AnswerOptions`` for what a request leaves out.
        most_tokens: That an answer may have, whatever is asked.

    Raises:
        VTBError: Names the parameter.
    """
    if not isinstance(body, Mapping):
        raise VTBError("the body is a JSON object with messages")
    for name, value in body.items():
        if value is None:
            # Clients write null for what they do not ask, whatever it is called.
            continue
        if name in _NOTHING and value not in _NOTHING[name]:
            raise VTBError(f"{name} is {shortened(value)}: this server cannot do that; leave it out")
        if name not in _OWN and name not in _NOTHING and name not in _IGNORED:
            raise VTBError(f"{shortened(name)} is no parameter of this server")
    given = {name: value for name, value in body.items() if value is not None}
    if "messages" not in given:
        raise VTBError("messages is missing")
    options = dict(usual) | {
        key: given[key] for key in ("temperature", "top_p", "top_k", "stop", "seed") if key in given
    }
    stream, counts = _stream(given)
    template = given.get("chat_template_kwargs", {})
    if not isinstance(template, Mapping) or set(template) - {"enable_thinking"}:
        raise VTBError("chat_template_kwargs holds enable_thinking alone")
    thinking = template.get("enable_thinking")
    if not isinstance(thinking, bool | None):
        raise VTBError("enable_thinking is true or false")
    asked = _tokens(given, options.get("max_new_tokens", most_tokens), most_tokens)
    how = AnswerOptions(**{**options, "max_new_tokens": asked, "thinking": thinking})
    return Asked(given["messages"], how, stream, counts)


def _stream(given: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether the answer comes in pieces, and whether the last one counts tokens."""
    stream, options = given.get("stream", False), given.get("stream_options")
    if not isinstance(stream, bool):
        raise VTBError(f"stream is {shortened(stream)}; it is true or false")
    if options is None:
        return stream, False
    if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
        raise VTBError(f"stream_options is {shortened(options)}; it holds include_usage alone")
    if not isinstance(counts := options.get("include_usage", False), bool):
        raise VTBError(f"stream_options: include_usage is {shortened(counts)}; it is true or false")
    if not stream:
        raise VTBError("stream_options are those of an answer in pieces: leave them out, or say stream: true")
    return stream, counts


def _tokens(given: Mapping[str, Any], usual: int, most: int) -> int:
    """The most tokens of an answer, under whichever of its two names they were asked for."""
    asked = {name: given[name] for name in ("max_tokens", "max_completion_tokens") if name in given}
    for name, value in asked.items():
        whole_number(name, value, 1)
        if value > most:
            raise VTBError(f"{name} is {value}; this server writes at most {most}")
    if len(set(asked.values())) > 1:
        both = " and ".join(f"{name} {value}" for name, value in asked.items())
        raise VTBError(f"{both} are two answers to one question: send one of them")
    return next(iter(asked.values()), usual)
