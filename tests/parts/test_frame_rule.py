"""The frames of a clip by rule are those that an encoder makes of it."""

from math import ceil

import pytest

from nemo_vtb.parts.frame_rule import measured_rule


def _whisper(samples: int) -> int:
    return ceil(ceil(ceil(samples / 160) / 2) / 4)


def _wav2vec(samples: int) -> int:
    for kernel, stride in ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2):
        samples = (samples - kernel) // stride + 1
    return max(1, samples)


def _conformer(samples: int) -> int:
    frames = samples // 160 + 1
    for _ in range(3):
        frames = (frames - 1) // 2 + 1
    return frames


@pytest.mark.parametrize("count", [_whisper, _wav2vec, _conformer])
def test_it_is_found_by_looking(count):
    rule = measured_rule(count, 480_000)
    assert rule is not None
    assert all(rule.frames(samples) == count(samples) for samples in range(1, 40_000, 7))


def test_long_clips_are_counted_by_piece():
    equal, chunks = (measured_rule(_whisper, 480_000, equal, 320) for equal in (True, False))
    assert equal is not None and chunks is not None
    assert equal.frames(480_001) == _whisper(240_001) + _whisper(240_000)
    assert chunks.frames(500_000) == _whisper(480_000) + _whisper(20_000)
    assert chunks.frames(480_100) == _whisper(480_100)


def test_an_encoder_without_one_is_seen():
    assert measured_rule(lambda samples: max(1, int(samples**0.5) // 10), 480_000) is None
