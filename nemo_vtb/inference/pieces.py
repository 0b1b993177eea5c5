"""Long recordings in pieces that are asked apart, cut where it is quietest."""

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import Sound

# Over this time the quiet is looked for, in the last part of a piece that is as long as it may be.
_QUIET_SECONDS = 0.2
_LAST_PART = 0.3


def in_pieces(sound: Sound, most_seconds: float) -> list[Sound]:
    """Cuts a recording so that no word is cut in two where a speaker pauses.

    Args:
        sound: Of any length.
        most_seconds: Of a piece.

    Returns:
        Pieces whose samples joined are the recording's.

    Raises:
        VTBError: If a piece could hold no word.
    """
    most, window = int(most_seconds * sound.rate), int(_QUIET_SECONDS * sound.rate)
    looked_at = int(most * _LAST_PART)
    if looked_at < window:
        raise VTBError(f"a recording is cut into pieces of 1 s at least, not {most_seconds:g}")
    pieces, rest = [], sound.samples
    while len(rest) > most:
        start = most - looked_at
        energy = np.concatenate([[0.0], np.cumsum(rest[start:most].astype(np.float64) ** 2)])
        quietest = int(np.argmin(energy[window:] - energy[:-window])) + window // 2
        pieces.append(rest[: start + quietest])
        rest = rest[start + quietest :]
    pieces.append(rest)
    if len(pieces) == 1:
        return [sound]
    return [sound._replace(samples=piece, seconds=len(piece) / sound.rate, notes=()) for piece in pieces]
