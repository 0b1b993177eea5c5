from random import Random

import numpy as np
import pytest
import soundfile

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.voices.sound import Sound, Surroundings, fault, joined

RATE = 16_000
SOUND = Sound()


def tone(seconds, rate=RATE, level=0.3):
    return (level * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def rms_db(samples):
    return 20 * np.log10(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("silence", [0.0, 0.05, 1.0])
def test_both_ends_keep_the_stated_silence(silence):
    quiet = np.zeros(int(silence * RATE), dtype=np.float32)
    clip = SOUND.finish(np.concatenate([quiet, tone(1.0), quiet]), RATE)
    assert len(clip) / RATE == pytest.approx(1.0 + 2 * SOUND.margin, abs=0.03)
    loud = np.flatnonzero(np.abs(clip) > 0.01 * np.abs(clip).max())
    assert loud[0] / RATE == pytest.approx(SOUND.margin, abs=0.02)


def test_every_clip_is_as_loud_and_no_sample_louder_than_the_limit():
    for level in (0.001, 0.9):
        assert rms_db(SOUND.level(tone(1.0, level=level))) == pytest.approx(-24.0, abs=0.1)
    click = np.zeros(RATE, dtype=np.float32)
    click[100] = 1.0
    assert np.abs(Sound(loudness_db=-10).level(click)).max() == pytest.approx(10 ** (-1 / 20), rel=1e-3)


def test_another_rate_is_heard_as_another_pitch():
    clip = SOUND.finish(tone(1.0, 24_000), 24_000 * 1.1)
    spectrum = np.abs(np.fft.rfft(clip))
    assert np.fft.rfftfreq(len(clip), 1 / RATE)[spectrum.argmax()] == pytest.approx(242, abs=2)
    assert len(clip) / RATE == pytest.approx(1 / 1.1 + 2 * SOUND.margin, abs=0.03)


def test_bad_clips_are_told_by_name():
    assert fault(np.zeros(0, np.float32), RATE, "Hello there.", 20) == "empty"
    assert fault(np.full(RATE, np.nan, np.float32), RATE, "Hello there.", 20) == "not finite"
    assert fault(np.zeros(RATE, np.float32), RATE, "Hello there.", 20) == "silent"
    assert fault(tone(0.05), RATE, "Hello there.", 20) == "length"
    assert fault(tone(15.0), RATE, "Hello there.", 20) == "length"
    assert fault(tone(1.0), RATE, "Hello there.", 20) is None
    assert fault(tone(21.0), RATE, "a" * 300, 20) == "length"


@pytest.fixture
def files(tmp_path):
    soundfile.write(tmp_path / "hum.wav", 0.5 * np.random.default_rng(0).standard_normal(8_000).clip(-1, 1), 8_000)
    response = np.zeros(4_000)
    response[[400, 1_200]] = 1.0, 0.5
    soundfile.write(tmp_path / "hall.wav", response, RATE)
    return tmp_path


def test_noise_has_the_drawn_level(files):
    noise = {"files": [str(files / "hum.wav")], "snr_db": [10, 10], "share": 1.0}
    voice = SOUND.level(tone(2.0))
    clip, done = Surroundings(noise, None, SOUND).around(voice, Random(0))
    assert done == {"noise": "hum.wav", "snr_db": 10.0} and len(clip) == len(voice)
    gain = np.dot(clip, voice) / np.dot(voice, voice)
    assert rms_db(gain * voice) - rms_db(clip - gain * voice) == pytest.approx(10, abs=0.5)
    assert rms_db(clip) == pytest.approx(-24, abs=0.1)


def test_a_room_echoes_and_leaves_words_where_they_were(files):
    room = {"files": [str(files / "hall.wav")], "share": 1.0}
    voice = np.zeros(RATE, dtype=np.float32)
    voice[1_000] = 0.5
    clip, done = Surroundings(None, room, SOUND).around(voice, Random(0))
    assert done == {"room": "hall.wav"} and len(clip) == len(voice)
    assert np.abs(clip).argmax() == 1_000 and clip[1_800] / clip[1_000] == pytest.approx(0.5, abs=0.01)


def test_the_share_of_clips_is_kept_and_the_rest_untouched(files):
    around = Surroundings({"files": [str(files / "hum.wav")], "snr_db": [10, 30], "share": 0.3}, None, SOUND)
    voice = SOUND.level(tone(0.2))
    done = [around.around(voice, Random(number)) for number in range(200)]
    touched = [what for _, what in done if what]
    assert 40 <= len(touched) <= 80 and all(10 <= what["snr_db"] <= 30 for what in touched)
    assert all(clip is voice for clip, what in done if not what)


def test_a_missing_file_is_named():
    with pytest.raises(VTBError, match=r"noise\.files: no such file: gone\.wav"):
        Surroundings({"files": ["gone.wav"], "snr_db": [1, 2], "share": 1}, None, SOUND)


def test_clips_are_joined_end_to_end():
    assert len(joined([tone(0.1), tone(0.2)])) == int(0.1 * RATE) + int(0.2 * RATE)
