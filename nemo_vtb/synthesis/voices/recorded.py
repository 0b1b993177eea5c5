"""Sentences that somebody has spoken already: recordings are used before anything is spoken anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nemo_vtb.data.conversations.speech_bank import SpeechBank, SpokenSentence
from nemo_vtb.errors import VTBError


@dataclass(frozen=True)
class Reading:
    """A run of sentences as one voice has recorded them.

    Attributes:
        text: As the bank has it, which may differ from the chat in case and punctuation.
        voice: Its name, or an empty string where the bank does not say.
        recordings: One per sentence.
        path: The recording's file, where it is one sentence and all of a file; otherwise None.
        seconds: Of all recordings.
    """

    text: str
    voice: str
    recordings: tuple[SpokenSentence, ...]
    path: Path | None
    seconds: float


class Recordings:
    """Looks sentences up in banks.

    Args:
        paths: JSONL files, as in ``SpeechBank``.
        max_seconds: Longest run.

    Raises:
        VTBError: If a file is missing or holds no sentence.
    """

    def __init__(self, paths: Sequence[str], max_seconds: float) -> None:
        from nemo_vtb.data.files.locations import expand, locate

        self._bank = SpeechBank([locate(name) for path in paths for name in expand(path)])
        self._max_seconds = max_seconds

    def voices(self, sentences: Sequence[str]) -> dict[int, list[list[SpokenSentence]]]:
        """Returns the voices that have all of some sentences, none too long, with their recordings of each."""
        voices: dict[int, list[list[SpokenSentence]]] = {}
        for place, sentence in enumerate(sentences):
            found: dict[int, list[SpokenSentence]] = {}
            for recording in self._bank.find(sentence):
                found.setdefault(recording.voice, []).append(recording)
            voices = {
                voice: [*voices.get(voice, []), recordings]
                for voice, recordings in found.items()
                if place == 0 or voice in voices
            }
        return {
            voice: choices
            for voice, choices in voices.items()
            if sum(max(one.seconds for one in recordings) for recordings in choices) <= self._max_seconds
        }

    def open(self, recordings: Sequence[SpokenSentence]) -> Reading:
        """Finds the files of some recordings of one voice.

        Raises:
            VTBError: If a recording is not there.
        """
        rows = [self._bank.row(one) for one in recordings]
        cuts = [self._bank.cut(one) for one in recordings]
        voice = rows[0].get("voice", rows[0].get("speaker"))
        path = None
        if len(cuts) == 1 and cuts[0].duration > cuts[0].recording.duration - 0.05:
            source = cuts[0].recording.sources[0]
            path = Path(source.source) if source.type == "file" else None
        text = " ".join(str(row["text"]).strip() for row in rows)
        return Reading(text, str(voice or ""), tuple(recordings), path, round(sum(cut.duration for cut in cuts), 4))

    def samples(self, recordings: Sequence[SpokenSentence], rate: int) -> list[np.ndarray]:
        """Returns the samples of each recording, float32 mono at ``rate``."""
        clips = []
        for one in recordings:
            cut = self._bank.cut(one)
            audio = cut.resample(rate).load_audio()
            if audio is None or not np.isfinite(audio).all():
                raise VTBError(f"{cut.id} cannot be read")
            clips.append(audio.mean(axis=0).astype(np.float32))
        return clips
