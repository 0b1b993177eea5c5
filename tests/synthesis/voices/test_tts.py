from collections import Counter
from random import Random
from shutil import which

import numpy as np
import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.voices.kokoro import ENGLISH_VOICES
from nemo_vtb.synthesis.voices.light import speak
from nemo_vtb.synthesis.voices.tts import Cast, Delivery, open_engine

PLAIN = ((1.0, 1.0), (1.0, 1.0))
TEXT = "Turn on the light in the kitchen."


def needs(program, value=None):
    missing = which(program) is None
    return pytest.param(value or program, marks=pytest.mark.skipif(missing, reason=f"{program} is not installed"))


def is_speech(samples, rate):
    return samples.ndim == 1 and np.isfinite(samples).all() and len(samples) > rate and np.abs(samples).max() > 0.05


@pytest.mark.parametrize("engine", ["hibari", needs("flite")])
def test_an_engine_speaks_with_each_of_its_voices_at_the_speed_asked_for(engine):
    opened = open_engine(engine)
    assert opened.voices("xx") == ()
    for voice in opened.voices("en"):
        (slow, rate), (fast, _) = (opened.speak(TEXT, voice, "en", speed) for speed in (0.8, 1.25))
        assert is_speech(slow, rate) and is_speech(fast, rate) and len(slow) > 1.2 * len(fast)
    assert opened.version.startswith(engine) and open_engine(engine) is opened


@pytest.mark.parametrize("language", ["en", needs("espeak-ng", "es")])
def test_kokoro_speaks_languages(language):
    opened = open_engine("kokoro")
    samples, rate = opened.speak(
        "Hola, ¿qué tal?" if language == "es" else TEXT, opened.voices(language)[0], language, 1.0
    )
    assert rate == 24_000 and np.isfinite(samples).all() and len(samples) > 0.7 * rate
    assert opened.voices("en") == ENGLISH_VOICES and opened.voices("xx") == ()


def test_kokoro_says_what_other_languages_need(monkeypatch):
    opened = open_engine("kokoro")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VTBError, match=r"espeak-ng for 'es': install it with `apt-get install espeak-ng`"):
        opened.voices("es")
    with pytest.raises(VTBError, match=r"apt-get install flite"):
        open_engine.__wrapped__("flite")


def test_the_one_call_of_the_examples_still_speaks():
    assert is_speech(speak(TEXT, "hibari:heart", 1.1, 0.9), 16_000)
    with pytest.raises(VTBError, match="unknown voice 'hibari:nobody'"):
        speak(TEXT, "hibari:nobody")


def test_an_engines_weight_is_split_over_its_voices():
    cast = Cast({"en": {"hibari": 1, "kokoro": 2, "kokoro:bm_lewis": 1}}, {}, *PLAIN)
    odds = cast.voices("en")
    assert odds["hibari:heart"] == 1 and odds["kokoro:af_sky"] == pytest.approx(2 / 28)
    assert odds["kokoro:bm_lewis"] == pytest.approx(1 + 2 / 28)
    drawn = Counter(cast.draw("en", Random(number)).engine for number in range(2000))
    assert drawn["hibari"] / 2000 == pytest.approx(0.25, abs=0.03)


def test_a_draw_keeps_its_bounds_depends_on_its_chance_alone_and_passes_over_who_tried():
    cast = Cast({"en": {"hibari": 1, "kokoro:bm_lewis": 1}}, {}, (0.9, 1.1), (0.95, 1.05))
    drawn = [cast.draw("en", Random(number)) for number in range(50)]
    assert drawn == [cast.draw("en", Random(number)) for number in range(50)]
    assert all(0.9 <= one.speed <= 1.1 and 0.95 <= one.pitch <= 1.05 for one in drawn)
    assert {cast.draw("en", Random(n), {"hibari:heart"}).voice for n in range(9)} == {"kokoro:bm_lewis"}
    assert cast.draw("en", Random(0), {"hibari:heart", "kokoro:bm_lewis"}) is None


def test_pitch_is_a_faster_tape():
    cast = Cast({"en": {"hibari": 1}}, {}, *PLAIN)
    (plain, rate, took), (high, faster, _) = (
        cast.speak(TEXT, "en", Delivery("hibari:heart", 1.0, pitch)) for pitch in (1.0, 1.1)
    )
    np.testing.assert_array_equal(plain, high)
    assert faster == pytest.approx(1.1 * rate) and took > 0


@pytest.mark.parametrize(
    ("voices", "message"),
    [
        ({"hibari:nobody": 1}, r"voices\.en: hibari has no voice 'nobody'; it has heart"),
        ({"festival": 1}, "unknown voice engine 'festival'; known: hibari, flite"),
    ],
)
def test_a_voice_nobody_has_is_named(voices, message):
    with pytest.raises(VTBError, match=message):
        Cast({"en": voices}, {}, *PLAIN).voices("en")


def test_a_language_an_engine_lacks_is_named():
    with pytest.raises(VTBError, match=r"voices\.fr: hibari has no voice 'fr'; it has none"):
        Cast({"fr": {"hibari": 1}}, {}, *PLAIN).voices("fr")


def test_a_voice_of_weight_zero_never_speaks_and_never_stops_a_run():
    cast = Cast({"en": {"hibari": 1.0, "kokoro:af_alloy": 0.0}, "es": {}}, {}, *PLAIN)
    assert cast.draw("en", Random(0)).voice == "hibari:heart"
    assert cast.draw("en", Random(0), {"hibari:heart"}) is None
    with pytest.raises(VTBError, match=r"voices.en: every voice has the weight 0"):
        Cast({"en": {"hibari": 0.0}}, {}, *PLAIN).voices("en")
