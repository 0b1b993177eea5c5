"""Lhotse cuts, from a manifest of cuts or from Shar, as utterances.

A cut may name a shell command or a URL as its audio; data does not get to run commands here, so those are refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lhotse import MonoCut, MultiCut, Recording
from lhotse.augmentation import Resample, Speed, Tempo
from lhotse.cut import Cut, MixedCut, PaddingCut
from lhotse.serialization import deserialize_item

from nemo_vtb.data.audio.audio_stores import AudioFolder, AudioStore, AudioTar
from nemo_vtb.data.audio.claims import check_rate
from nemo_vtb.data.audio.headers import TOLERANCE_SECONDS, header
from nemo_vtb.data.audio.recordings import file_source, with_selected
from nemo_vtb.data.conversations.chat_rows import Draw, row_name
from nemo_vtb.data.conversations.instructed import Utterance, UtteranceParser
from nemo_vtb.data.files.notes import note
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.fields import Tracked
from nemo_vtb.errors import VTBError


class CutParser:
    """Parses rows of a Lhotse cuts manifest.

    Args:
        utterances: Makes conversations of what the cuts hold.
    """

    def __init__(self, utterances: UtteranceParser) -> None:
        self._utterances = utterances

    def plain(self, row: dict[str, Any], where: str, store: AudioFolder) -> Draw:
        """Parses a cut whose audio is a file, a mix of cuts included.

        Raises:
            BadRow: If it is no cut, its audio is missing, no file or another than it says, or nothing is said about it.
        """
        with _no_cut():
            for recording in _recordings(row):
                sources = recording.get("sources") if isinstance(recording, dict) else None
                for source in sources if isinstance(sources, list) else ():
                    _check_source(source)
            cut = _cut(row)
            for part in _parts(cut):
                _check_sides(part)
                _hold_against_files(part, store)
            return self._draw(cut, row, where, store)

    def shar(self, row: dict[str, Any], where: str, store: AudioTar) -> Draw:
        """Parses a cut of a Shar shard, whose audio is in a tar of the same number under the cut's id.

        Raises:
            BadRow: As ``plain``.
        """
        with _no_cut():
            cut = _cut(row)
            if not isinstance(cut, (MonoCut, MultiCut)):
                raise BadRow(
                    "missing field", f"a cut of Shar must be a MonoCut or a MultiCut, not {type(cut).__name__}"
                )
            _check_sides(cut)
            recording = store.recording(cut.id)
            if not cut.recording.transforms:
                check_rate(cut.recording.sampling_rate, recording.sampling_rate, recording.id)
            if cut.num_channels != recording.num_channels:
                raise BadRow(
                    "wrong claim",
                    f"{cut.id} is said to have {cut.num_channels} channels, its clip has {recording.num_channels}",
                )
            if cut.duration > recording.duration + TOLERANCE_SECONDS:
                raise BadRow(
                    "truncated audio",
                    f"{cut.id} is said to be {cut.duration:.2f} s long, but its clip holds {recording.duration:.2f} s",
                )
            # Shar stores what the cut spans, not what was around it.
            whole = recording.to_cut()
            cut.recording, cut.start, cut.duration = recording, 0.0, min(cut.duration, whole.duration)
            cut.channel = whole.channel
            return self._draw(cut, row, where, store)

    def _draw(self, cut: Cut, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        main = cut.first_non_padding_cut if isinstance(cut, MixedCut) else cut
        custom = main.custom or {}
        name = row_name(row, where)
        cut = with_selected(cut, store.selector, custom, name)  # with the supervisions of the chosen side
        spoken = sorted(cut.supervisions, key=lambda supervision: supervision.start)
        ends = 0.0
        for supervision in spoken:
            if supervision.duration < 0:
                raise BadRow("wrong claim", f"the supervision {supervision.id} is {supervision.duration:.2f} s long")
            if supervision.start < -TOLERANCE_SECONDS or supervision.end > cut.duration + TOLERANCE_SECONDS:
                raise BadRow(
                    "outside the cut",
                    f"the cut has {cut.duration:.2f} s, and the supervision {supervision.id} goes from "
                    f"{supervision.start:.2f} to {supervision.end:.2f} s of it: nobody hears all of its words",
                )
            if supervision.start < ends - TOLERANCE_SECONDS:
                note(
                    "overlapping speech", "supervisions of a cut overlap: their words follow in the order of beginning"
                )
            ends = max(ends, supervision.end)
        own = [supervision.custom or {} for supervision in spoken]
        fields = self._utterances.joined([{k: v for k, v in one.items() if k not in custom} for one in own])
        languages = {supervision.language for supervision in spoken if supervision.language}
        if len(languages) == 1:  # of several, an instruction could name but one
            fields["lang"] = languages.pop()
        texts = [supervision.text for supervision in spoken if isinstance(supervision.text, str)]
        fields |= custom
        if texts:
            fields["text"] = texts[0] if len(texts) == 1 else " ".join(filter(None, map(str.strip, texts)))
        return self._utterances.draw_of(Utterance(name, cut.with_id(_clip_id(cut)), fields, custom))


def _check_sides(cut: MonoCut | MultiCut) -> None:
    """Refuses words of a channel that a cut leaves out, as Lhotse's own validation does."""
    for supervision in cut.supervisions:
        if not _channels(supervision) & _channels(cut):
            raise BadRow(
                "which channel",
                f"the supervision {supervision.id} is of channel {supervision.channel}, the cut of {cut.channel}",
            )


def _channels(of: Any) -> set[int]:
    return {of.channel} if isinstance(of.channel, int) else set(of.channel)


def _cut(row: dict[str, Any]) -> Cut:
    if isinstance(row, Tracked):
        row.read_all()
    cut = deserialize_item(row)
    if not isinstance(cut, Cut):
        raise ValueError(f"it is a {type(cut).__name__}: make cuts of recordings and supervisions (lhotse cut simple)")
    if isinstance(cut, PaddingCut) or not cut.has_recording:
        raise ValueError(f"a {type(cut).__name__} without a recording")
    return cut


@contextmanager
def _no_cut() -> Iterator[None]:
    """Lhotse takes any value for any field of a cut, and stumbles over it where it is used."""
    try:
        yield
    except VTBError:  # a bad row with a name of its own, or something that no row is to blame for
        raise
    except Exception as error:
        raise BadRow(
            "missing field", f"the row is no Lhotse cut with audio: {type(error).__name__}: {error}"
        ) from error


def _check_source(source: Any) -> None:
    """Refuses audio that is no file: a cut may name a command."""
    kind = source.get("type") if isinstance(source, dict) else source
    if kind == "shar":
        raise BadRow(
            "missing audio", "the cut belongs to a Shar folder, whose clips are in tars: name the folder as shar_path"
        )
    if kind == "url":
        raise BadRow("remote audio", f"{str(source.get('source'))[:200]} is not on this machine: copy it to a disk")
    if kind != "file":
        raise BadRow("unsafe path", f"audio of type {str(kind)[:40]!r}: cuts must name files")


def _parts(cut: Cut) -> Iterator[MonoCut | MultiCut]:
    for part in [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]:
        if not isinstance(part, PaddingCut):
            yield part


def _hold_against_files(cut: MonoCut | MultiCut, store: AudioFolder) -> None:
    """Lets a cut read the files that it names, as they are.

    Raises:
        BadRow: If a file is missing, or has another rate, length or number of channels than the cut says.
    """
    recording = cut.recording
    rate, samples = _before_transforms(recording)
    for number, source in enumerate(recording.sources):
        name = str(source.source)
        path = str(store.path(name))
        found = header(path, name, path)
        check_rate(rate, found.rate, path)
        if len(source.channels) != found.channels:
            raise BadRow(
                "wrong claim", f"the row says {len(source.channels)} channels, {path} has {found.channels} channels"
            )
        said = [samples / rate] if recording.transforms else [samples / rate, recording.duration]
        seconds = found.samples / found.rate
        if (wrong := max(said, key=lambda claim: abs(claim - seconds))) and abs(wrong - seconds) > TOLERANCE_SECONDS:
            reason = "truncated audio" if seconds < wrong else "wrong claim"
            raise BadRow(reason, f"the row says {wrong:.2f} s, {path} has {seconds:.2f} s")
        recording.sources[number] = file_source(path, found, source.channels)
        if not recording.transforms and len(recording.sources) == 1:
            recording.num_samples, recording.duration = found.samples, found.samples / found.rate
    if absent := _channels(cut) - set(recording.channel_ids or ()):
        raise BadRow("which channel", f"{recording.id} has no channel {sorted(absent)[0]}")
    if cut.start >= recording.duration or cut.end > recording.duration + TOLERANCE_SECONDS:
        raise BadRow(
            "truncated audio",
            f"{recording.id} is {recording.duration:.2f} s long, and {cut.start:.2f} to {cut.end:.2f} s is asked for",
        )
    cut.duration = min(cut.duration, recording.duration - cut.start)


def _before_transforms(recording: Recording) -> tuple[int, int]:
    """Sampling rate and length of what a recording's files hold, from what it says after its transforms."""
    rate, samples = recording.sampling_rate, recording.num_samples
    for transform in reversed(recording.transforms or []):
        kind = transform.get("name") if isinstance(transform, dict) else type(transform).__name__
        values = transform.get("kwargs", {}) if isinstance(transform, dict) else vars(transform)
        if kind == Resample.__name__:
            rate, samples = values["source_sampling_rate"], samples * values["source_sampling_rate"] / rate
        elif kind in (Speed.__name__, Tempo.__name__):
            samples *= values["factor"]
    return rate, round(samples)


def _recordings(row: dict[str, Any]) -> Iterator[Any]:
    """Every recording of a serialised cut, tracks of a mix included."""
    if isinstance(row.get("recording"), dict):
        yield row["recording"]
    tracks = row.get("tracks")
    for track in tracks if isinstance(tracks, list) else ():
        if isinstance(track, dict) and isinstance(track.get("cut"), dict):
            yield from _recordings(track["cut"])


def _clip_id(cut: Cut) -> str:
    tracks = [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]
    recorded = [track for track in tracks if not isinstance(track, PaddingCut)]
    return "|".join(f"{_origin(track)}@{track.start:.3f}+{track.duration:.3f}" for track in recorded)


def _origin(cut: Any) -> str:
    source = cut.recording.sources[0].source
    return source if isinstance(source, str) else str(Path(cut.recording.id))
