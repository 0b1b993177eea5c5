"""Lint of files and folders that somebody names, without a config: what they are is told from their rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from nemo_vtb.data.inspection.findings import Finding, LintResult
from nemo_vtb.data.inspection.lint import lint_entry
from nemo_vtb.data.options import Reading as ReadingKeys
from nemo_vtb.data.sources.folders import guess_path
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.options import typed

# Keys of a section of the config that may stand on lint's line, with the names that a reading has for them.
_READ = {"audio_locator_tag": "audio_tag", "token_equivalent_duration": "frame_seconds",
         "min_duration": "min_seconds", "max_duration": "max_seconds"}  # fmt: skip
_USUAL = {"audio_tag": "<|audio|>", "frame_seconds": 0.08}
_NAMED_AT_MOST = 8


def lint_paths(
    paths: Sequence[str],
    options: Mapping[str, Any],
    result: LintResult,
    data_type: str | None = None,
    kind: str | None = None,
    decode: bool = True,
    processes: int | None = None,
) -> None:
    """Checks what some paths hold.

    Args:
        paths: Files of rows, tars, folders of them.
        options: Keys of an ``input_cfg`` entry, and those of ``_READ``.
        result: What is found is added to it.
        data_type: Of all of them; else each file's first row says it.
        kind: Likewise.
        decode: Also decode every clip.
        processes: As of ``lint_entry``.

    Raises:
        VTBError: On an option that cannot be, or a path that holds no rows.
    """
    hints = get_type_hints(ReadingKeys, include_extras=True)
    given = {name: typed(key, options[key], hints[key]) for key, name in _READ.items() if options.get(key) is not None}
    reading = Reading(**{**_USUAL, **given})
    own = {key: value for key, value in options.items() if key not in _READ}
    for path in paths:
        found = guess_path(path, data_type, kind)
        result.findings += [Finding(file, 0, "error", "unreadable file", why) for file, why in found.refused.items()]
        result.findings += [Finding(file, 0, "warning", "not rows", why) for file, why in found.other.items()]
        for entry, like in found.entries:
            result.read[f"{entry['type']}, kind {like}"] += 1
            lint_entry({**entry, **own}, like, reading, result, decode, (), processes)
        if found.left_out:
            message = f"nothing of {_listed(found.left_out, path)} was looked at"
            result.findings.append(Finding(path, 0, "note", "file left out", message))


def _listed(files: Sequence[str], folder: str) -> str:
    """Names files by their suffix: a few of them shall not be hidden behind many of another."""
    suffixes = Counter(Path(file).suffix for file in files)
    firsts = {Path(file).suffix: str(Path(file).relative_to(folder)) for file in reversed(files)}
    named = [
        firsts[suffix] if count == 1 else f"{firsts[suffix]} and {count - 1} more *{suffix}"
        for suffix, count in sorted(suffixes.items())
    ]
    more = [f"files of {len(named) - _NAMED_AT_MOST} more suffixes"] if len(named) > _NAMED_AT_MOST else []
    return ", ".join([*named[:_NAMED_AT_MOST], *more])
