"""The table of held-out examples: prompt and clip, reference, replies before and after training."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nemo_vtb.data.conversations.kinds import KINDS

MIME_TYPES = {
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "audio/webm",
}


def samples_table(samples: Sequence[Mapping[str, Any]], names: tuple[str, str] = ("Before", "After")) -> str:
    """Renders the samples as a table whose rows become cards on a narrow screen.

    Args:
        samples: As in ``write_report``; ``audio`` may also be a list of clips.
        names: What the replies under ``before`` and ``after`` are called.
    """
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Prompt", "Reference", *names))
    rows = "".join(_row(sample, *names) for sample in samples)
    return f'<table class="samples"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def player(audio: str | Path | None) -> str:
    """Renders a clip as a player that carries its bytes; says so where the clip cannot be played."""
    if audio is None:
        return ""
    path = Path(audio)
    mime = MIME_TYPES.get(path.suffix.lower())
    if mime is None:
        return f'<p class="absent">No browser plays {escape(path.name)}.</p>'
    try:
        clip = path.read_bytes()
    except OSError as error:
        return f'<p class="absent">The clip cannot be read: {escape(str(path))} ({escape(error.strerror or "")})</p>'
    return clip_player(clip, mime)


def clip_player(clip: bytes, mime: str) -> str:
    """Renders a player that carries the bytes of a clip."""
    data = base64.b64encode(clip).decode("ascii")
    return f'<audio controls preload="metadata" src="data:{mime};base64,{data}"></audio>'


def kind_chip(kind: str) -> str:
    """Renders the name of a kind in its colour."""
    return f'<span class="kind"{_colour(kind)}>{escape(kind)}</span>'


def prompt_words(prompt: str) -> str:
    """Renders a prompt, in which ♪ stands for a clip."""
    clip = escape(prompt).replace("♪", '<span class="note" title="the clip">♪</span>')
    return f'<div class="words" dir="auto">{clip}</div>'


def _row(sample: Mapping[str, Any], before: str, after: str) -> str:
    kind = str(sample.get("kind") or "")
    prompt = f"{kind_chip(kind) if kind else ''}{prompt_words(str(sample.get('prompt') or ''))}"
    audio = sample.get("audio")
    players = "".join(map(player, audio if isinstance(audio, list) else [audio]))
    return (
        f'<tr><td data-name="Prompt">{prompt}{players}</td>'
        f'<td data-name="Reference">{_words(sample.get("reference"))}</td>'
        f'<td data-name="{before}">{_mark(sample.get("correct_before"))}{_words(sample.get("before"))}</td>'
        f'<td data-name="{after}">{_mark(sample.get("correct_after"))}{_words(sample.get("after"))}</td></tr>'
    )


def _words(text: Any) -> str:
    if text is None:
        return '<p class="absent">none</p>'
    if not str(text).strip():
        return '<p class="absent">empty</p>'
    return f'<div class="words" dir="auto">{escape(str(text))}</div>'


def _mark(correct: Any) -> str:
    if correct is None:
        return ""
    return '<span class="mark good">✓ correct</span>' if correct else '<span class="mark bad">✗ wrong</span>'


def _colour(kind: str) -> str:
    return f' style="--kind: var(--kind-{kind})"' if kind in KINDS else ""
