"""What a row of a corpus says it was made for, as Canary's manifests do: recognition, or translation."""

from collections.abc import Collection, Mapping
from typing import Any

from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.languages import base_language, canonical, language_tag

_TASKS = ("taskname", "task")
_SAID = frozenset((*_TASKS, "target_lang"))
_TRANSLATION = ("ast", "st", "s2tt")
_RECOGNITION = ("asr", "transcribe", "transcription")
# Where a transcript stands beside its translation.
_TEXTS = ("text", "answer", "translation")
# Canary's manifests write it where nothing is to be written.
_ABSENT = "na"


def is_absent(fields: Mapping[str, Any], name: str) -> bool:
    """Whether a field has no value: none at all, or Canary's ``na`` beside a ``text``."""
    value = fields.get(name)
    return value is None or (value == _ABSENT and name != "text" and bool(fields.get("text")))


def check_task(kind: str, fields: Mapping[str, Any], read: Collection[str], source: str | None) -> None:
    """Refuses translations that are read as transcripts, and transcripts that are read as translations.

    Args:
        kind: ``ast``, or one that learns what was said.
        fields: Of the row.
        read: The names of the fields of which one is learnt.
        source: The language of the audio, where somebody knows.

    Raises:
        BadRow: Names what says so.
    """
    if (said := says_otherwise(kind, fields, source)) and not _apart(fields, read):
        learnt, kept = ("translation", "asr") if kind == "ast" else ("transcript", "ast")
        raise BadRow("another task", f"{said}: the row's text is no {learnt} (read it as kind {kept})")


def says_otherwise(kind: str, fields: Mapping[str, Any], source: str | None) -> str | None:
    """Returns in which words a row says that it was made for another task; None where it does not."""
    if _SAID.isdisjoint(fields):
        return None
    translated = kind == "ast"
    for name in _TASKS:
        task = value.strip().lower() if isinstance(value := fields.get(name), str) else ""
        if task in _RECOGNITION if translated else task in _TRANSLATION or "translat" in task:
            return f"'{name}' is {task[:40]!r}"
    target = language_tag(fields.get("target_lang"))
    if target is None or source is None:
        return None
    if not translated and base_language(source) != base_language(target):
        return f"the audio is in {source!r} and 'target_lang' is {target[:40]!r}"
    # `lang` may be that of the translation; from one region or script to another there is something to translate.
    if translated and language_tag(fields.get("source_lang")) and canonical(source) == canonical(target):
        return f"'source_lang' and 'target_lang' are both {target[:40]!r}"
    return None


def _apart(fields: Mapping[str, Any], read: Collection[str]) -> bool:
    """Whether the text of the other task stands beside what is read; the two may well be the same words."""
    others = [fields.get(name) for name in _TEXTS if name not in read and not is_absent(fields, name)]
    return any(isinstance(text, str) and text.strip() for text in others)
