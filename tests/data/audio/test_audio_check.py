"""Each class of bad audio has its name, at the header or when its samples are read."""

import io

import numpy as np
import pytest
import soundfile

from nemo_vtb.data.audio.audio_check import signal
from nemo_vtb.data.audio.audio_stores import AudioFolder, AudioTar
from nemo_vtb.data.audio.headers import describe
from nemo_vtb.data.conversations.turns import clip
from nemo_vtb.data.files.rows import BadRow

RATE = 16_000


def encoded(samples, file_format="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=file_format, subtype=subtype)
    return file.getvalue()


def tone(seconds=2.0, channels=1):
    wave = 0.3 * np.sin(np.arange(int(seconds * RATE)) / 20).astype("float32")
    return wave if channels == 1 else np.stack([wave] * channels, axis=1)


def reason_of(path):
    """The reason at the header or, where that is fine, at the samples."""
    try:
        recording = AudioFolder(path.parent).recording(path.name)
        signal(recording.to_cut(), RATE, path.name)
    except BadRow as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("file_format", "subtype", "reason"),
    [
        ("WAV", "PCM_16", "truncated audio"),
        ("WAV", "FLOAT", "truncated audio"),
        ("FLAC", "PCM_16", "truncated audio"),
        ("OGG", "VORBIS", "unreadable audio"),
        ("MP3", "MPEG_LAYER_III", "truncated audio"),
    ],
)
def test_a_file_cut_short_is_told_from_a_short_one(tmp_path, file_format, subtype, reason):
    whole = encoded(tone(), file_format, subtype)
    path = tmp_path / f"a.{file_format.lower()}"
    path.write_bytes(whole)
    assert reason_of(path) is None
    path.write_bytes(whole[: len(whole) * 6 // 10])
    assert reason_of(path) == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unreadable audio"),
        (b"not audio at all", "unreadable audio"),
        (encoded(np.zeros(0, "float32")), "zero length"),
        (encoded(np.array([0.1, np.nan, 0.2], "float32"), subtype="FLOAT"), "not finite"),
        (encoded(np.array([0.1, np.inf, 0.2], "float32"), subtype="DOUBLE"), "not finite"),
    ],
    # The bytes hold the time they were written at, and the workers of a run must agree on names.
    ids=["empty", "text", "no samples", "nan", "inf"],
)
def test_other_bad_audio(tmp_path, data, reason):
    (tmp_path / "a.wav").write_bytes(data)
    assert reason_of(tmp_path / "a.wav") == reason


def test_a_wav_of_unknown_length_from_a_pipe_is_fine(tmp_path):
    data = bytearray(encoded(tone(0.5)))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert reason_of(tmp_path / "a.wav") is None


def test_a_claimed_length_is_checked_against_the_samples(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(tone(1.0)))
    row = {"audio_filepath": "a.wav", "duration": 3.0, "sampling_rate": RATE}
    with pytest.raises(BadRow) as error:
        clip(row, "audio_filepath", AudioFolder(tmp_path))
    assert error.value.reason == "truncated audio"


def test_channels_are_averaged_and_rates_changed(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5, channels=2), 8000)
    cut = AudioFolder(tmp_path).recording("a.wav").to_cut()
    assert signal(cut, RATE, "a").shape == (2 * int(0.5 * RATE),)


def test_a_member_of_a_tar_is_described_without_reading_all_of_it(tmp_path):
    import tarfile

    data = encoded(tone(20.0))
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        info = tarfile.TarInfo("a.wav")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    recording = AudioTar(tmp_path / "t.tar").recording("a.wav")
    assert describe(io.BytesIO(data), "a").samples == recording.num_samples == 20 * RATE
    np.testing.assert_array_equal(recording.load_audio()[0], soundfile.read(io.BytesIO(data), dtype="float32")[0])
