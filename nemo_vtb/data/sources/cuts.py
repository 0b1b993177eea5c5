"""Lhotse cuts, from a manifest of cuts or from Shar, as utterances.

A cut may name a shell command or a URL as its audio; data does not get to run commands here, so those are refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lhotse import MonoCut, MultiCut
from lhotse.cut import Cut, MixedCut, PaddingCut
from lhotse.serialization import deserialize_item

from nemo_vtb.data.conversations.chat_rows import Draw, row_name
from nemo_vtb.data.conversations.instructed import Utterance, UtteranceParser
from nemo_vtb.data.files.audio_check import TOLERANCE_SECONDS
from nemo_vtb.data.files.audio_stores import AudioFolder, AudioTar
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
            BadRow: If it is no cut, its audio is missing or no file, or nothing is said about it.
        """
        with _no_cut():
            for recording in _recordings(row):
                sources = recording.get("sources") if isinstance(recording, dict) else None
                for source in sources if isinstance(sources, list) else ():
                    if not isinstance(source, dict) or source.get("type") != "file":
                        kind = source.get("type") if isinstance(source, dict) else source
                        raise BadRow("unsafe path", f"audio of type {str(kind)[:40]!r}: cuts must name files")
                    source["source"] = str(store.path(str(source.get("source"))))
            return self._draw(_cut(row), row, where)

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
            recording = store.recording(cut.id)
            if cut.duration > recording.duration + TOLERANCE_SECONDS:
                raise BadRow(
                    "truncated audio",
                    f"{cut.id} is said to be {cut.duration:.2f} s long, but its clip holds {recording.duration:.2f} s",
                )
            # Shar stores what the cut spans, not what was around it.
            whole = recording.to_cut()
            cut.recording, cut.start, cut.duration = recording, 0.0, min(cut.duration, whole.duration)
            return self._draw(cut, row, where)

    def _draw(self, cut: Cut, row: dict[str, Any], where: str) -> Draw:
        main = cut.first_non_padding_cut if isinstance(cut, MixedCut) else cut
        custom = main.custom or {}
        spoken = sorted(cut.supervisions, key=lambda supervision: supervision.start)
        fields: dict[str, Any] = {}
        for supervision in spoken:
            fields.update(supervision.custom or {})
            if supervision.language:
                fields["lang"] = supervision.language
        texts = [supervision.text for supervision in spoken if isinstance(supervision.text, str)]
        fields |= custom
        if texts:
            fields["text"] = " ".join(texts)
        name = row_name(row, where)
        return self._utterances.draw_of(Utterance(name, cut.with_id(_clip_id(cut)), fields, custom))


def _cut(row: dict[str, Any]) -> Cut:
    if isinstance(row, Tracked):
        row.read_all()
    cut = deserialize_item(row)
    if isinstance(cut, PaddingCut) or not isinstance(cut, Cut) or not cut.has_recording:
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
