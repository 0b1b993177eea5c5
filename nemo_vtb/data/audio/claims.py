"""What rows claim of their clips, held against the clips themselves: nobody knows what a row with another one means."""

import math
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from lhotse.cut import Cut

from nemo_vtb.data.audio.headers import TOLERANCE_SECONDS
from nemo_vtb.data.audio.recordings import CHANNEL_FIELDS
from nemo_vtb.data.files.rows import BadRow

_RATES = ("sampling_rate", "sample_rate", "samplerate", "sr", "sampling_frequency")
_CHANNEL_COUNTS = ("num_channels", "n_channels", "nchannels")
_BEGINNINGS = ("start", "start_time", "begin_time", "begin", "onset")
_SPANS = (
    ("start", "end"),
    ("start_time", "end_time"),
    ("begin_time", "end_time"),
    ("begin", "end"),
    ("onset", "offset"),
)
_SPAN_WORDS = (*_BEGINNINGS, "end", "end_time")
_ANY = ("offset", "duration", *_RATES, *_CHANNEL_COUNTS, *CHANNEL_FIELDS, "num_samples", "dur")
_MILLISECONDS = 1000


def check_claims(row: Mapping[str, Any], cut: Cut) -> None:
    """Holds what a row claims of its clip beside ``offset`` and ``duration`` against the clip.

    Args:
        row: In NeMo's words and others: ``sampling_rate``, ``num_channels``, ``num_samples``, ``dur``, ``start``.
        cut: The span that the row chooses, with every channel of its recording.

    Raises:
        BadRow: If one of them is another than the clip's.
    """
    recording = cut.recording
    for name in _RATES:
        check_rate(row.get(name), recording.sampling_rate, recording.id)
    for name in _CHANNEL_COUNTS:
        _check(row, name, recording.num_channels, recording.num_channels, 0, "channels")
    tolerance = TOLERANCE_SECONDS * recording.sampling_rate
    _check(row, "num_samples", cut.num_samples, recording.num_samples, tolerance, "samples")
    _check(row, "dur", cut.duration, recording.duration, TOLERANCE_SECONDS, "s")
    if row.get("offset") is None:
        _check_span(row, cut)


def check_rate(claimed: Any, rate: int, name: str) -> None:
    """Holds the sampling rate that a row claims against the file's own.

    Raises:
        BadRow: If they differ: nobody knows what the row's times then are.
    """
    if claimed is None or isinstance(claimed, bool):
        return
    try:
        same = float(claimed) == rate
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRow("wrong number", f"the sampling rate is not a number: {str(claimed)[:40]}") from error
    if not same:
        raise BadRow("wrong claim", f"the row says {str(claimed)[:20]} Hz, {name} has {rate} Hz")


def span_words(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers with which a row says in other words than ``offset`` and ``duration`` what it spans.

    A beginning without an end is heard by nobody where the whole recording is: it stays unread, and is said to be.
    """
    found = {name: number for name in _SPAN_WORDS if name in row and (number := _as_number(row, name)) is not None}
    for first, last in _SPANS:
        if first in found and last in row:
            row.get(first)
            row.get(last)
    return found


def with_own_claims(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Returns a row with what the object that names its clip says of the clip itself.

    Args:
        row: What names the clip.
        key: Under which field.

    Raises:
        BadRow: If row and object differ.
    """
    clip = row.get(key)
    if not isinstance(clip, Mapping) or clip is row:
        return row
    own = {name: clip.get(name) for name in _ANY if clip.get(name) is not None} | span_words(clip)
    for name, value in own.items():
        if row.get(name) not in (None, value):
            raise BadRow(
                "contradiction", f"'{name}' is {str(value)[:20]} under '{key}' and {str(row.get(name))[:20]} beside it"
            )
    return ChainMap(own, row) if own else row  # type: ignore[arg-type]


def check_beginning(row: Mapping[str, Any]) -> None:
    """Refuses an ``offset`` that is not where a span begins, but where it ends: ``onset`` stands beside it.

    Raises:
        BadRow: If they differ.
    """
    if "onset" not in row or (onset := _number(row, "onset")) is None or (offset := _number(row, "offset")) is None:
        return
    if onset != offset:
        raise BadRow(
            "wrong claim",
            f"'onset' and 'offset' are {onset:g} and {offset:g}: a span begins at 'offset' here and lasts 'duration'",
        )


def _check(row: Mapping[str, Any], name: str, spanned: float, whole: float, tolerance: float, unit: str) -> None:
    claimed = _number(row, name)
    if claimed is None or min(abs(claimed - spanned), abs(claimed - whole)) <= tolerance:
        return
    raise BadRow("wrong claim", f"the row's '{name}' is {claimed:g}, its clip has {spanned:g} {unit}")


def _check_span(row: Mapping[str, Any], cut: Cut) -> None:
    """Refuses a span in words that nobody obeys, unless it is the whole clip, which was cut out already."""
    for first, last in _SPANS:
        if first not in row or last not in row:
            continue
        start, end = _number(row, first), _number(row, last)
        if start is None or end is None:
            continue
        lengths = [(end - start) / unit for unit in (1, _MILLISECONDS, cut.sampling_rate)]
        if min(abs(length - cut.duration) for length in lengths) > TOLERANCE_SECONDS:
            raise BadRow(
                "wrong claim",
                f"'{first}' and '{last}' are {start:g} and {end:g}, the clip has {cut.duration:.2f} s: 'offset' and "
                "'duration' choose a span",
            )
    if cut.duration >= cut.recording.duration - TOLERANCE_SECONDS:
        return
    for name in _BEGINNINGS:
        if name in row and (start := _number(row, name)) is not None and start > 0:
            raise BadRow(
                "wrong claim",
                f"'{name}' is {start:g} beside 'duration', and the first {cut.duration:.2f} s would be heard: "
                "'offset' says where a span begins",
            )


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """As ``_as_number``, and the field counts as read where it is a number."""
    number = _as_number(row, name)
    if number is not None:
        row.get(name)
    return number


def _as_number(row: Mapping[str, Any], name: str) -> float | None:
    """A number, also one that is written as text; None for anything else."""
    value: Any = row.get(name) if not isinstance(row, dict) else dict.get(row, name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
