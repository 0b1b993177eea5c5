"""Lhotse's recordings over what was measured, and the channels that a row is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import AudioSource, Recording
from lhotse.cut import Cut, MixedCut

from nemo_vtb.data.audio.decode import decode
from nemo_vtb.data.audio.headers import Described
from nemo_vtb.data.files.notes import note
from nemo_vtb.data.files.rows import BadRow

# NeMo's words: the number of a channel, the field of a row that holds it, or the mean of all.
ChannelSelector = int | str | Sequence[int] | None
AVERAGE = "average"
# Fields that people have named a channel with.
CHANNEL_FIELDS = ("channel", "channels", "channel_id", "channel_idx", "channel_index")


@dataclass
class BytesSource(AudioSource):
    """Lhotse's AudioSource for a recording that libsndfile may not read to its end.

    Attributes:
        plain: As in ``headers.Described``.
    """

    plain: bool = True

    def load_audio(
        self, offset: float = 0.0, duration: float | None = None, force_opus_sampling_rate: int | None = None
    ) -> np.ndarray:
        """Returns float32 ``(channels, samples)``, or ``(samples,)`` of one channel."""
        if self.plain:
            return super().load_audio(offset, duration, force_opus_sampling_rate)
        return decode(self._prepare_for_reading(offset, duration), offset, duration)[0]


def file_source(path: str | Path, header: Described, channels: Sequence[int] | None = None) -> AudioSource:
    """Makes the source of a file; ``channels`` are its numbers in the recording."""
    numbers = list(range(header.channels)) if channels is None else list(channels)
    if header.plain:
        return AudioSource("file", numbers, str(path))
    return BytesSource("file", numbers, str(path), plain=False)


def recording_of(source: AudioSource, header: Described) -> Recording:
    """Makes a recording of one source, named after it."""
    return Recording(
        id=str(source.source),
        sources=[source],
        sampling_rate=header.rate,
        num_samples=header.samples,
        duration=header.samples / header.rate,
        channel_ids=source.channels,
    )


def recordings_in(cut: Cut) -> list[Recording]:
    """Returns the recordings that are heard in a cut: of a mix several, of its padding none."""
    parts = [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]
    # Padding has none, whatever its has_recording says.
    return [part.recording for part in parts if getattr(part, "recording", None) is not None]


def with_selected(cut: Cut, selector: ChannelSelector, fields: Mapping[str, Any], name: str) -> Cut:
    """Returns the channels of a clip that its row is about.

    Args:
        cut: The clip, with every channel of its recording.
        selector: ``channel_selector`` of the source.
        fields: The row, in which a selector's name is looked up.
        name: What the clip is called in messages.

    Raises:
        BadRow: If the row names a channel that nothing selects by, or one that is not there.
    """
    if isinstance(cut, MixedCut):
        return cut
    there = [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)
    if selector is None and len(there) > 1:
        named = next((key for key in CHANNEL_FIELDS if fields.get(key) is not None), None)
        if named is not None:
            raise BadRow(
                "which channel",
                f"{name} has {len(there)} channels, and nothing says whether the row's '{named}' chooses one",
            )
        note("channels averaged", f"the {len(there)} channels of a recording are averaged")
    if selector in (None, AVERAGE):
        return cut
    chosen: Any = fields.get(selector) if isinstance(selector, str) else selector
    # Texts of tables, and numbers of those that lack one somewhere.
    if (isinstance(chosen, str) and chosen.isdecimal()) or (isinstance(chosen, float) and chosen.is_integer()):
        chosen = int(chosen)
    numbers: list[Any] = list(chosen) if isinstance(chosen, Sequence) and not isinstance(chosen, str) else [chosen]
    if not numbers or any(type(number) is not int for number in numbers):
        raise BadRow("which channel", f"channel_selector is {selector!r}, and the row has {str(chosen)[:40]!r} there")
    if absent := [number for number in numbers if not 0 <= number < len(there)]:
        raise BadRow("which channel", f"{name} has {len(there)} channels, and none with the number {absent[0]}")
    if len(there) == 1:
        return cut
    picked = [there[number] for number in numbers]
    return cut.with_channels(picked[0] if len(picked) == 1 else picked)
