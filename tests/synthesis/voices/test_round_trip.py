"""The round trip with a real Whisper on real speech."""

import numpy as np
import pytest

from nemo_vtb.assets import resolve
from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.voices.round_trip import Gate, Listener, character_error_rate
from nemo_vtb.synthesis.voices.sound import Sound
from nemo_vtb.synthesis.voices.tts import open_engine

SENTENCES = [
    "Help me plan a surprise party for my friend.",
    "You are my teacher.",
    "Who is the company?",
    "What happens if I add a long postscript to the answer that I wrote to you in the morning?",
]
MODEL = "whisper-tiny.en"


@pytest.fixture(scope="module")
def clips():
    sound, engine = Sound(), open_engine("hibari")
    return [sound.finish(*engine.speak(text, "heart", "en", 1.0)) for text in SENTENCES]


@pytest.fixture(scope="module")
def listener():
    return Listener(MODEL, batch=3)


def test_clips_are_understood_though_they_are_not_padded(listener, clips):
    heard = listener.hear(clips, SENTENCES, "en")
    rates = [character_error_rate(said, text, "en") for said, text in zip(SENTENCES, heard, strict=True)]
    assert max(rates) < 0.1


def test_the_transcripts_are_those_of_whisper_on_padded_clips(listener, clips):
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

    folder = resolve(MODEL)
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    features = WhisperFeatureExtractor(feature_size=80)(list(clips), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(features.input_features, max_new_tokens=60, do_sample=False)
    padded = WhisperTokenizerFast.from_pretrained(folder).batch_decode(ids, skip_special_tokens=True)
    for text, reference in zip(listener.hear(clips, SENTENCES, "en"), padded, strict=True):
        assert character_error_rate(reference, text, "en") < 0.05


def test_what_is_said_does_not_depend_on_the_order_or_the_company(listener, clips):
    together = listener.hear(clips, SENTENCES, "en")
    backwards = listener.hear(clips[::-1], SENTENCES[::-1], "en")
    assert together == backwards[::-1]


def test_another_sentence_is_an_error(clips):
    gate = Gate({"any": MODEL}, 0.1, 8)
    swapped = gate.rates(clips[:2], SENTENCES[1::-1], "en")
    assert min(swapped) > 0.5 and gate.rates([clips[0][:8_000]], SENTENCES[:1], "en")[0] > 0.3
    assert gate.rates([np.zeros(16_000, np.float32)], ["Hello there."], "en")[0] > 0.5


@pytest.mark.parametrize(
    ("said", "heard", "language", "rate"),
    [
        ("twenty percent of five dollars", "20% of $5!", "en", 0.0),
        ("What's the time?", "whats THE time", "en", 0.0),
        ("el niño comió", "El nino comio.", "es", 0.0),
        ("abcd", "abcx", "en", 0.25),
        ("Hi.", "", "en", 1.0),
    ],
)
def test_the_rate_counts_what_can_be_heard(said, heard, language, rate):
    assert character_error_rate(said, heard, language) == pytest.approx(rate)


def test_a_language_without_a_listener_is_named(clips):
    with pytest.raises(VTBError, match=r"gate\.asr names no model for 'fr'"):
        Gate({"en": MODEL}, 0.1, 8).rates(clips[:1], SENTENCES[:1], "fr")


def test_a_model_that_is_no_whisper_is_named(smollm2):
    with pytest.raises(VTBError, match=r"gate\.asr: .* is no Whisper model"):
        Listener(str(smollm2))
