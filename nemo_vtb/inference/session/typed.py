"""A typed line, in which ``@`` in front of a file's name puts the recording in its place."""

import re
from pathlib import Path

from nemo_vtb.errors import VTBError

# What a name ends in that can only be meant as a recording.
SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .m4a .mp4 .webm .aiff .aif .aifc .aac .wma .mov .mkv .mka .caf .amr .3gp".split()
)
_QUOTED = re.compile(r"""@(?P<mark>["'])(?P<name>.*?)(?P=mark)""")
_BARE = re.compile(r"@(?P<name>(?:\\.|[^\s\\])+)")
_BEHIND = ".,;:?!)\"'"
_MOST_WORDS = 12


def typed_parts(line: str) -> list[str | Path]:
    """Splits a line into words and recordings.

    A name may stand in quotes, have its spaces escaped, or simply hold them where such a file is there; ``~`` is the
    home. What stands behind ``@`` and cannot be meant as a file stays text (``me@home.org``).

    Args:
        line: As typed.

    Returns:
        Texts, with their white space, and paths.

    Raises:
        VTBError: If a named recording is not there.
    """
    parts: list[str | Path] = []
    text, at = "", 0
    while at < len(line):
        place = line.find("@", at)
        if place < 0:
            break
        text += line[at:place]
        path, end = _recording(line, place)
        if path is None:
            text, at = text + "@", place + 1
            continue
        parts += [text, path] if text else [path]
        text, at = "", end
    text += line[at:]
    return [*parts, text] if text else parts


def bare_recording(line: str) -> str | None:
    """The first word of a line that is the name of a recording here and has no ``@`` in front of it."""
    words = re.findall(r"""(?<!\S)(?:"([^"]+)"|'([^']+)'|([^\s@"'][^\s@]*))""", line)
    names = [line.strip(), *(next(filter(None, found)).rstrip(_BEHIND) for found in words)]
    return next((name for name in names if Path(name).suffix.lower() in SUFFIXES and _there(name)), None)


def _recording(line: str, place: int) -> tuple[Path | None, int]:
    """The recording that an ``@`` names, and where the line goes on; None where it names nothing."""
    if quoted := _QUOTED.match(line, place):
        return _required(quoted["name"]), quoted.end()
    bare = _BARE.match(line, place)
    if bare is None:
        return None, place
    begins = place == 0 or not (line[place - 1].isalnum() or line[place - 1] in "._-+")
    spans = _spans(line, bare.end()) if begins else [bare.end()]
    for end in reversed(spans):
        for length in _without_what_is_behind(line[place + 1 : end]):
            name = line[place + 1 : place + 1 + length]
            for spelt in dict.fromkeys((name, re.sub(r"\\(.)", r"\1", name))):
                if spelt and _there(spelt):
                    return _expanded(spelt), place + 1 + length
    for end in spans:
        name = re.sub(r"\\(.)", r"\1", line[place + 1 : end].rstrip(_BEHIND))
        if Path(name).suffix.lower() in SUFFIXES or (begins and end == spans[0] and name[:1] in "~/."):
            return _required(name), end
    return None, place


def _spans(line: str, end: int) -> list[int]:
    """Where a name may end: behind its first word, or behind one of those that follow it."""
    ends = [end]
    for word in re.finditer(r"\s+[^\s@]+", line[end:]):
        if len(ends) == _MOST_WORDS or word.start() + end != ends[-1]:
            break
        ends.append(end + word.end())
    return ends


def _without_what_is_behind(name: str) -> list[int]:
    """Lengths of a name with, then without the punctuation of the sentence it stands in."""
    least = len(name.rstrip(_BEHIND))
    return list(range(len(name), least - 1, -1))


def _required(name: str) -> Path:
    if not _there(name):
        raise VTBError(f"no recording at {name}")
    return _expanded(name)


def _there(name: str) -> bool:
    try:
        return _expanded(name).is_file()
    except OSError:
        return False


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise VTBError(f"no recording at {name}: {error}") from error
