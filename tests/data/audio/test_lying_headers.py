"""Recordings are what they hold: lengths are decoded where the header does not say them, or cannot be believed."""

import io
import struct
import tarfile

import av
import numpy as np
import pytest
import soundfile

from nemo_vtb.data.audio.audio_check import LOUDEST, signal
from nemo_vtb.data.audio.audio_stores import AudioFolder, AudioTar
from nemo_vtb.data.audio.headers import describe
from nemo_vtb.data.conversations.turns import clip
from nemo_vtb.data.files.rows import BadRow

RATE = 16_000
SECONDS = 3.0
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(SECONDS * RATE)) / RATE).astype("float32")


def encoded(file_format, subtype=None, samples=TONE):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=file_format, subtype=subtype)
    return bytearray(file.getvalue())


def contained(name, codec, rate=RATE, **options):
    """What FFmpeg's containers hold."""
    file = io.BytesIO()
    with av.open(file, "w", format=name, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        for start in range(0, len(TONE), 1024):
            frame = av.AudioFrame.from_ndarray(TONE[None, start : start + 1024], format="fltp", layout="mono")
            frame.rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def patched(data, at, replacement):
    data[at : at + len(replacement)] = replacement
    return data


def wav(size, riff=None):
    data = encoded("WAV")
    patched(data, data.index(b"data") + 4, struct.pack("<I", size))
    return data if riff is None else patched(data, 4, struct.pack("<I", riff))


def rf64(size):
    data = encoded("RF64")
    return patched(data, data.index(b"ds64") + 8, struct.pack("<QQ", size, size))


def w64(size):
    data = encoded("W64")
    return patched(data, data.index(b"data") + 16, struct.pack("<Q", size))


def flac(samples):
    data = encoded("FLAC")
    data[21] = data[21] & 0xF0 | samples >> 32
    return patched(data, 22, struct.pack(">I", samples & 0xFFFF_FFFF))


def mp3_without_table():
    """Variable bit rates and no table of frames: libsndfile takes three seconds for half a second."""
    silence = np.zeros(len(TONE), "float32")
    data = encoded("MP3", samples=np.concatenate([silence, TONE]))[: 1 << 20]
    return patched(data, data.find(b"Xing"), b"\0" * 4), 2 * SECONDS


LYING = {
    "wav with an empty data chunk": wav(0),
    "wav with nothing counted": wav(0, 0),
    "wav with an endless data chunk": wav(0xFFFF_FFFF, 0xFFFF_FFFF),
    "wav from a pipe": wav(0x7FFF_F000),
    "wav whose header was written first": wav(100),
    "rf64 with an empty data chunk": rf64(0),
    "rf64 with an endless data chunk": rf64(2**64 - 1),
    "w64 with an empty data chunk": w64(24),
    "w64 with an endless data chunk": w64(2**64 - 1),
    "flac of 0 samples": flac(0),
    "flac of as many as can be": flac(2**36 - 1),
    "au with an empty data chunk": patched(encoded("AU"), 8, b"\0" * 4),
    "au of unknown length": patched(encoded("AU"), 8, b"\xff" * 4),
    "flac of half as many": flac(len(TONE) // 2),
    "flac of twice as many": flac(len(TONE) * 2),
    "two mp3 files in one": encoded("MP3") + encoded("MP3"),
    "two ogg files in one": encoded("OGG") + encoded("OGG"),
    "m4a": contained("ipod", "aac"),
    "lossless m4a": contained("ipod", "alac"),
    "fragmented mp4": contained("mp4", "aac", movflags="frag_keyframe+empty_moov"),
    "webm": contained("webm", "libopus", rate=48_000),
    "webm from a stream": contained("webm", "libopus", rate=48_000, live="1"),
    "mkv": contained("matroska", "aac"),
    "aac": contained("adts", "aac"),
}


def frequency(samples):
    return np.fft.rfftfreq(len(samples), 1 / RATE)[np.abs(np.fft.rfft(samples)).argmax()]


@pytest.mark.parametrize("name", LYING)
@pytest.mark.parametrize("packed", [False, True], ids=["file", "tar"])
def test_the_length_is_what_the_samples_say(tmp_path, name, packed):
    data, seconds = bytes(LYING[name]), SECONDS * (2 if name.startswith("two") else 1)
    if packed:
        info = tarfile.TarInfo("a.bin")
        info.size = len(data)
        with tarfile.open(tmp_path / "t.tar", "w") as tar:
            tar.addfile(info, io.BytesIO(data))
        store = AudioTar(tmp_path / "t.tar")
    else:
        (tmp_path / "a.bin").write_bytes(data)
        store = AudioFolder(tmp_path)
    recording = store.recording("a.bin")
    assert recording.duration == pytest.approx(seconds, abs=0.2)
    heard = signal(recording.to_cut(), RATE, name).numpy()
    assert len(heard) / RATE == pytest.approx(seconds, abs=0.2)
    assert frequency(heard) == pytest.approx(440, abs=2)
    span = clip({"audio": "a.bin", "offset": 1.0, "duration": 0.5}, "audio", store)
    heard = signal(span, RATE, name).numpy()
    assert len(heard) == RATE // 2 and frequency(heard) == pytest.approx(440, abs=2) and abs(heard).max() > 0.2


@pytest.mark.parametrize("file_format", ["WAV", "FLAC"])
@pytest.mark.parametrize("second", [TONE, TONE[: RATE // 2]], ids=["as long", "shorter"])
def test_files_one_after_the_other_are_refused_where_no_decoder_joins_them(tmp_path, file_format, second):
    (tmp_path / "a.bin").write_bytes(encoded(file_format) + encoded(file_format, samples=second))
    with pytest.raises(BadRow, match=f"several {file_format} files one after the other"):
        AudioFolder(tmp_path).recording("a.bin")


@pytest.mark.parametrize("rate", [1_000_001, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused_before_it_is_resampled_from(tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(patched(encoded("WAV"), 24, struct.pack("<I", rate)))
    with pytest.raises(BadRow, match=f"says {rate} Hz"):
        AudioFolder(tmp_path).recording("a.wav")


def test_whole_flac_files_are_not_decoded_to_be_measured(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, (10 * RATE, 2))
    for samples in (noise, noise[:999], noise[:, :1]):
        soundfile.write(tmp_path / "a.flac", samples, RATE)
        assert describe(tmp_path / "a.flac", "a") == (RATE, len(samples), samples.shape[1], True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"num_channels": 2}, "'num_channels' is 2"),
        ({"num_samples": 96_000}, "'num_samples' is 96000"),
        ({"dur": 1.5}, "'dur' is 1.5"),
        ({"sr": 8000}, "8000 Hz"),
        ({"start": 1.0, "end": 2.0}, "'offset' and 'duration' choose a span"),
        # Numbers are often written as text.
        ({"num_channels": "2"}, "'num_channels' is 2"),
        ({"num_samples": "96000"}, "'num_samples' is 96000"),
        ({"dur": "1.5"}, "'dur' is 1.5"),
        ({"start_time": "1.0", "end_time": "2.0"}, "'offset' and 'duration' choose a span"),
        ({"onset": 1.0, "offset": 2.0}, "a span begins at 'offset' here and lasts 'duration'"),
        ({"onset": 0, "offset": "2.0", "duration": 1.0}, "a span begins at 'offset' here"),
        ({"start": 1.0, "duration": 1.0}, "'offset' says where a span begins"),
        ({"begin_time": "1.0", "end_time": "2.0", "duration": 1.0}, "'offset' says where a span begins"),
    ],
)
def test_other_claims_are_held_against_the_file_too(tmp_path, row, message):
    (tmp_path / "a.wav").write_bytes(encoded("WAV"))
    with pytest.raises(BadRow, match=message):
        clip({"audio": "a.wav", **row}, "audio", AudioFolder(tmp_path))


@pytest.mark.parametrize(
    "row",
    [
        {"num_channels": 1, "num_samples": 48_000, "dur": 3.0},
        {"offset": 1.0, "duration": 1.0, "start": 1.0, "end": 2.0, "num_samples": 16_000},
        {"start": 71_000, "end": 74_000},
        {"start_time": "71.0", "end_time": "74.0", "num_samples": "48000"},
        {"start": 71.0, "duration": 3.0},
        {"start": 0, "duration": 1.0},
        {"onset": 1.0, "offset": 1.0, "duration": 1.0},
        {"start_time": "2024-05-01T10:00", "end_time": "2024-05-01T11:00", "num_channels": "mono"},
    ],
)
def test_claims_that_are_true_change_nothing(tmp_path, row):
    (tmp_path / "a.wav").write_bytes(encoded("WAV"))
    assert clip({"audio": "a.wav", **row}, "audio", AudioFolder(tmp_path)).duration == row.get("duration", 3.0)


def test_a_span_in_words_that_nobody_obeys_is_an_error_of_lint(tmp_path, jsonl, capsys):
    from nemo_vtb.cli import main

    (tmp_path / "a.wav").write_bytes(encoded("WAV"))
    row = {"audio_filepath": "a.wav", "text": "hi", "lang": "en"}
    path = jsonl({**row, "start_time": "1.0", "end_time": "2.0"}, {**row, "onset": 1.0, "offset": 2.0},
                 {**row, "start_time": "10:00", "end_time": "11:00"})  # fmt: skip
    assert main(["data", "lint", path, "--kind=asr", "--processes=1"]) == 1
    out = capsys.readouterr().out
    assert (
        f"{path}:1: error: wrong claim: 'start_time' and 'end_time'" in out and f"{path}:2: error: wrong claim" in out
    )
    # What is no number of seconds is said to be read by nobody.
    assert f"{path}:3: warning: unread field: nothing reads 'start_time'" in out


def test_an_mp3_without_a_table_is_measured_by_its_frames(tmp_path):
    data, seconds = mp3_without_table()
    (tmp_path / "a.mp3").write_bytes(data)
    assert soundfile.info(tmp_path / "a.mp3").duration < seconds - 1
    found = describe(tmp_path / "a.mp3", "a")
    assert found.samples / found.rate == pytest.approx(seconds, abs=0.2) and not found.plain


@pytest.mark.parametrize("data", [wav(0)[:44], bytes(flac(0)[:60]), b"\0" * 500], ids=["wav", "flac", "zeros"])
def test_a_header_alone_is_no_recording(tmp_path, data):
    (tmp_path / "a.wav").write_bytes(bytes(data))
    with pytest.raises(BadRow) as error:
        AudioFolder(tmp_path).recording("a.wav")
    assert error.value.reason in ("zero length", "unreadable audio", "truncated audio")


@pytest.mark.parametrize("value", [1e30, -1e30, 300.0, LOUDEST * 1.01])
def test_samples_far_beyond_full_scale_are_named(tmp_path, value):
    samples = TONE.copy()
    samples[100] = value
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(BadRow, match="full scale is -1 to 1") as error:
        signal(AudioFolder(tmp_path).recording("a.wav").to_cut(), RATE, "a")
    assert error.value.reason == "far too loud"


@pytest.mark.parametrize(
    ("file_format", "subtype"), [("WAV", "GSM610"), ("AIFF", "GSM610"), ("AU", "G721_32"), ("AU", "G723_24")]
)
def test_spans_of_what_is_read_from_front_to_back_only(tmp_path, file_format, subtype):
    file = io.BytesIO()
    slow, fast = (np.sin(2 * np.pi * hz * np.arange(8000) / 8000) for hz in (300, 900))
    soundfile.write(file, 0.3 * np.concatenate([slow, fast]), 8000, format=file_format, subtype=subtype)
    (tmp_path / "a.call").write_bytes(file.getvalue())
    for offset, hz in ((0.25, 300), (1.25, 900)):
        cut = clip({"audio": "a.call", "offset": offset, "duration": 0.5}, "audio", AudioFolder(tmp_path))
        samples = signal(cut, 8000, "a").numpy()
        assert len(samples) == 4000 and np.abs(np.fft.rfft(samples)).argmax() * 2 == pytest.approx(hz, abs=2)


def test_an_empty_file_is_said_to_be_one(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(BadRow, match="it is empty, 0 bytes"):
        AudioFolder(tmp_path).recording("a.wav")


def test_what_a_library_says_is_one_line(tmp_path):
    (tmp_path / "a.flac").write_bytes(encoded("FLAC"))
    cut = AudioFolder(tmp_path).recording("a.flac").to_cut()
    (tmp_path / "a.flac").write_bytes(b"not a recording any more")
    with pytest.raises(BadRow, match="cannot be read") as error:
        signal(cut, RATE, "a.flac")
    assert "\n" not in str(error.value) and "Exception #" not in str(error.value)


def test_kilohertz_are_no_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", TONE[:400], 16)
    with pytest.raises(BadRow, match="16 Hz: no speech"):
        AudioFolder(tmp_path).recording("a.wav")
