"""The one door for sound: every form, every container, and what is refused in one line."""

import base64
import io
import shutil

import numpy as np
import pytest
import soundfile

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import Limits, of_part, read_sound

RATE = 16_000


@pytest.fixture(scope="module")
def speech(clips):
    """A second of speech at 16 kHz."""
    samples, rate = soundfile.read(clips[0].path, dtype="float32")
    return read_sound((samples, rate), RATE).samples


def encoded(samples, container, codec, rate=RATE, channels=1):
    """A file of FFmpeg's, as phones and browsers write them."""
    import av

    made = io.BytesIO()
    with av.open(made, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo" if channels == 2 else "mono")
        pieces = np.stack([samples] * channels).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(pieces, format="fltp", layout=stream.layout.name)
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, stream.layout, rate, frame_size=stream.frame_size or 1024)
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(ready))
        file.mux(stream.encode(None))
    return made.getvalue()


def wav(samples, rate=RATE, **options):
    made = io.BytesIO()
    soundfile.write(made, samples, rate, format="WAV", **options)
    return made.getvalue()


def like(one, other):
    """Correlation of two recordings, the shift of a codec aside."""
    length = min(len(one), len(other))
    spectrum = np.fft.rfft(one[:length], 2 * length) * np.fft.rfft(other[:length], 2 * length).conj()
    return np.fft.irfft(spectrum).max() / np.sqrt((one**2).sum() * (other**2).sum())


def test_every_form_gives_the_same_samples(speech, tmp_path, monkeypatch):
    data = wav(speech, subtype="FLOAT")
    path = tmp_path / "a clip.WAV"
    path.write_bytes(data)
    monkeypatch.setenv("HOME", str(tmp_path))
    url = f"data:audio/wav;base64,{base64.b64encode(data).decode()}"
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": "wav"}}
    with path.open("rb") as file:
        forms = [path, str(path), "~/a clip.WAV", data, bytearray(data), io.BytesIO(data), file, url, (speech, RATE)]
        forms += [(RATE, speech), (np.stack([speech, speech]), RATE), (np.stack([speech, speech], 1), RATE)]
        forms += [of_part(part, "here", Limits(), False)]
        forms += [of_part({"type": "audio_url", "audio_url": {"url": url}}, "here", Limits(), False)]
        for form in forms:
            assert np.array_equal(read_sound(form, RATE).samples, speech)
    sixteen = read_sound(((speech * 32767).astype(np.int16), RATE), RATE)
    assert np.abs(sixteen.samples - speech).max() < 1e-4


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels"),
    [
        ("ipod", "aac", 16_000, 1),  # .m4a
        ("mp4", "aac", 48_000, 2),
        ("webm", "libopus", 48_000, 1),
        ("aiff", "pcm_s16be", 44_100, 2),
        ("mp3", "libmp3lame", 16_000, 1),
        ("matroska", "pcm_s16le", 16_000, 1),
    ],
)
def test_what_phones_and_browsers_write_is_heard(speech, container, codec, rate, channels, tmp_path):
    path = tmp_path / "my recording.bin"
    path.write_bytes(encoded(read_sound((speech, RATE), rate).samples, container, codec, rate, channels))
    for source in (path, path.read_bytes()):
        sound = read_sound(source, RATE)
        assert abs(sound.seconds - len(speech) / RATE) < 0.15
        assert like(sound.samples, speech) > 0.9


def test_a_wav_from_a_pipe_is_heard_to_its_end(speech):
    data = bytearray(wav(speech))
    data[4:8] = data[40:44] = b"\xff" * 4
    assert len(read_sound(bytes(data), RATE).samples) == len(speech)
    data[4:8] = data[40:44] = b"\0" * 4
    assert len(read_sound(bytes(data), RATE).samples) == len(speech)


@pytest.mark.parametrize("codec", ["wav", "ogg"])
def test_what_was_cut_off_is_heard_and_said(speech, codec, tmp_path):
    made, speech = io.BytesIO(), np.tile(speech, 10)
    soundfile.write(made, speech, RATE, format=codec)
    data = made.getvalue()
    assert read_sound(data, RATE, name="a").notes == ()
    for part in (0.5, 0.9):
        cut = data[: int(part * len(data))]
        (tmp_path / "a").write_bytes(cut)
        for source in (cut, tmp_path / "a"):
            sound = read_sound(source, RATE, name="a")
            (note,) = sound.notes
            assert note.startswith("a ") and note.endswith("is it cut off?") and 0 < sound.seconds < len(speech) / RATE


def test_silence_and_ten_milliseconds_are_said(speech):
    assert read_sound((speech, RATE), RATE).notes == ()
    (silent,) = read_sound((np.zeros(RATE), RATE), RATE, name="a.wav").notes
    assert silent == "a.wav is silent: whatever is said of it is made up"
    short = read_sound((speech[6000:6160], RATE), RATE, name="b.wav")
    assert short.notes == ("b.wav is 10 ms long: too short to hold a word",) and len(short.samples) == 1600


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "the recording is empty"),
        (b"no sound at all", "the recording cannot be read as audio"),
        ("gone.wav", "no recording at gone.wav"),
        ("/tmp", "no recording at /tmp: that is no file"),
        ("a\0b", "no recording at"),
        ("~nobody-of-that-name/x.wav", "no recording at"),
        ("x" * 5000, "no recording at"),
        (wav(np.zeros(0)), "holds no audio"),
        ((np.array([np.nan] * 99), RATE), "samples that are not numbers"),
        ((np.full(99, 3e4), RATE), "full scale is -1 to 1"),
        ((np.zeros((2, 3, 4)), RATE), r"an array \(2, 3, 4\)"),
        ((np.zeros(9), 0), "0 samples a second"),
        ((np.zeros(9), "16k"), "with their rate"),
        ((np.zeros((40, 4000)), RATE), "40 channels; at most 32"),
        (np.zeros(9), "ndarray is no recording"),
        ("data:audio/wav,zzzz", "begins data:audio/wav;base64"),
        ("data:audio/wav;base64,!!", "no base64"),
        (io.StringIO("x"), "text"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(source, words):
    with pytest.raises(VTBError, match=words) as raised:
        read_sound(source, RATE)
    assert "\n" not in str(raised.value)


def test_text_named_wav_and_a_file_that_nobody_may_read(tmp_path):
    text = tmp_path / "notes.wav"
    text.write_text("these are words\n" * 40)
    with pytest.raises(VTBError, match=r"notes\.wav cannot be read as audio: .+"):
        read_sound(text, RATE)


def test_limits_are_kept_before_memory_is_taken(speech):
    long = wav(np.zeros(RATE * 20, np.int16))
    with pytest.raises(VTBError, match="longer than 10 s"):
        read_sound(long, RATE, Limits(seconds=10))
    with pytest.raises(VTBError, match=r"has 0\.6 MB; at most 0\.5"):
        read_sound(long, RATE, Limits(megabytes=0.5))
    with pytest.raises(VTBError, match="at most 1 are taken"):
        read_sound((np.zeros((2, 100)), RATE), RATE, Limits(channels=1))
    with pytest.raises(VTBError, match="at most"):
        of_part({"type": "input_audio", "input_audio": {"data": "A" * 4_000_000}}, "x", Limits(megabytes=1), False)


@pytest.mark.parametrize("url", ["https://host/a.wav", "file:///etc/hostname", "/etc/hostname", None, 3])
def test_no_address_is_fetched(url):
    with pytest.raises(VTBError, match="other addresses are not fetched"):
        of_part({"type": "audio_url", "audio_url": {"url": url}}, "messages[0]", Limits(), False)


def test_a_playlist_opens_no_other_file(speech, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(speech))
    lists = [
        f"ffconcat version 1.0\nfile {secret.name}\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n{secret}\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na={secret}\n",
    ]
    for number, text in enumerate(lists):
        path = tmp_path / f"{number}.m3u8"
        path.write_text(text)
        for source in (text.encode(), path):
            with pytest.raises(VTBError, match="cannot be read as audio"):
                read_sound(source, RATE)


def test_a_pipe_is_read_though_it_cannot_be_wound_back(speech):
    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self._data = io.BytesIO(data)

        def readable(self):
            return True

        def read(self, count=-1):
            return self._data.read(count)

    assert len(read_sound(Pipe(wav(speech)), RATE).samples) == len(speech)


def test_ten_minutes_are_read_and_a_changed_file_is_read_anew(clips, tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.tile(np.sin(np.arange(8000) / 9) / 3, 600), 8000)
    sound = read_sound(path, RATE)
    assert abs(sound.seconds - 600) < 1e-6 and abs(len(sound.samples) - 600 * RATE) <= 2
    shutil.copy(clips[0].path, path)
    assert read_sound(path, RATE).seconds < 2
