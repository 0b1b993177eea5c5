"""Values of fields, with a named reason where one is not what it should be."""

from typing import Any

from nemo_vtb.data.files.rows import BadRow


def field(row: Any, key: str, kind: type) -> Any:
    """Returns a field of a row.

    Raises:
        BadRow: If it is missing, of another type, or text that no tokenizer takes.
    """
    value = row.get(key) if isinstance(row, dict) else None
    if value is None:
        raise BadRow("missing field", f"'{key}' is missing or not a {kind.__name__}")
    if not isinstance(value, kind):
        raise BadRow("missing field", f"'{key}' is not a {kind.__name__} but {_a(value)}")
    return clean(value) if isinstance(value, str) else value


def clean(text: str) -> str:
    """Returns the text.

    Raises:
        BadRow: If it holds half of a surrogate pair, which is not text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow("broken JSON", f"broken JSON: half a surrogate pair at character {error.start}") from error
    return text


def is_empty(value: Any) -> bool:
    """Whether a field says nothing: null, false, an empty text or list, a list of nulls, also one written as JSON."""
    if isinstance(value, list):
        return all(item is None for item in value)
    return not value or (isinstance(value, str) and value.strip() in ("", "[]", "{}", "null", "None"))


def _a(value: Any) -> str:
    name = "dict" if isinstance(value, dict) else type(value).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}: {str(value)[:40]}"
