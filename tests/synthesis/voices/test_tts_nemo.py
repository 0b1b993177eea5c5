"""NeMo's FastPitch and HiFi-GAN behind our interface: real classes, tiny and untrained, from .nemo files."""

import numpy as np
import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.voices.tts import Cast, open_engine

RATE, MELS, HOP, WIDTH = 16_000, 80, 256, 16
MODULES = "nemo.collections.tts.modules"


def spectrogram_config(speakers):
    preprocessor = {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "features": MELS, "n_fft": 1024, "n_window_size": 1024, "window_size": False, "n_window_stride": HOP,
        "window_stride": False, "sample_rate": RATE, "normalize": None,
    }  # fmt: skip
    layers = {"n_layer": 1, "n_head": 1, "d_model": WIDTH, "d_head": 8, "d_inner": 32, "kernel_size": 3, "dropout": 0.0,
              "dropatt": 0.0, "dropemb": 0.0}  # fmt: skip
    predictor = {"_target_": f"{MODULES}.fastpitch.TemporalPredictor", "input_size": WIDTH, "kernel_size": 3,
                 "filter_size": 16, "dropout": 0.0, "n_layers": 1}  # fmt: skip
    return {
        "learn_alignment": True,
        "n_speakers": speakers,
        "symbols_embedding_dim": WIDTH,
        "pitch_embedding_kernel_size": 3,
        "n_mel_channels": MELS,
        "min_token_duration": 3,
        "max_token_duration": 10,
        "text_tokenizer": {
            "_target_": "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers.EnglishCharsTokenizer"
        },
        "train_ds": {"defer_setup": True, "dataset": {"_target_": "nemo.collections.tts.data.dataset.TTSDataset"}},
        "preprocessor": preprocessor,
        "input_fft": {"_target_": f"{MODULES}.transformer.FFTransformerEncoder", "d_embed": WIDTH, **layers},
        "output_fft": {"_target_": f"{MODULES}.transformer.FFTransformerDecoder", **layers},
        "alignment_module": {"_target_": f"{MODULES}.aligner.AlignmentEncoder", "n_text_channels": WIDTH},
        "duration_predictor": predictor,
        "pitch_predictor": predictor,
        "optim": {"name": "adam", "lr": 1e-3},
    }


def vocoder_config():
    return {
        "preprocessor": {
            "_target_": "nemo.collections.asr.parts.preprocessing.features.FilterbankFeatures",
            "nfilt": MELS, "n_fft": 1024, "n_window_size": 1024, "n_window_stride": HOP, "sample_rate": RATE,
            "normalize": None, "exact_pad": True, "use_grads": False,
        },
        "generator": {
            "_target_": f"{MODULES}.hifigan_modules.Generator",
            "resblock": 2, "upsample_rates": [16, 16], "upsample_kernel_sizes": [32, 32],
            "upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]],
            "initial_input_size": MELS, "apply_weight_init_conv_pre": False,
        },
        "train_ds": {"defer_setup": True, "dataset": {"_target_": "nemo.collections.tts.data.dataset.VocoderDataset"}},
        "max_steps": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    import torch
    from nemo.collections.tts.models import FastPitchModel, HifiGanModel
    from omegaconf import OmegaConf

    folder = tmp_path_factory.mktemp("nemo_tts")
    torch.manual_seed(0)
    FastPitchModel(OmegaConf.create(spectrogram_config(4))).save_to(str(folder / "fastpitch.nemo"))
    HifiGanModel(OmegaConf.create(vocoder_config())).save_to(str(folder / "hifigan.nemo"))
    return folder


@pytest.fixture(scope="module")
def engine(checkpoints):
    settings = {"spectrogram": str(checkpoints / "fastpitch.nemo"), "vocoder": str(checkpoints / "hifigan.nemo")}
    return open_engine("fastpitch", **settings)


def test_every_speaker_id_is_a_voice_of_its_own(engine):
    assert engine.voices("en") == ("0", "1", "2", "3") and engine.voices("de") == ()
    clips = [engine.speak("hello there", voice, "en", 1.0) for voice in engine.voices("en")]
    assert {rate for _, rate in clips} == {RATE}
    assert all(samples.ndim == 1 and np.isfinite(samples).all() and len(samples) >= 3 * HOP for samples, _ in clips)
    assert len({samples.tobytes() for samples, _ in clips}) == 4
    again, _ = engine.speak("hello there", "2", "en", 1.0)
    np.testing.assert_array_equal(again, clips[2][0])
    assert engine.version.startswith("fastpitch.nemo with hifigan.nemo, nemo_toolkit 3.")


def test_a_faster_pace_makes_a_shorter_clip(engine):
    lengths = [len(engine.speak("a longer sentence to speak", "0", "en", speed)[0]) for speed in (0.5, 1.0)]
    assert lengths[0] > lengths[1]


def test_a_cast_draws_from_its_speakers(checkpoints):
    settings = {"spectrogram": str(checkpoints / "fastpitch.nemo"), "vocoder": str(checkpoints / "hifigan.nemo")}
    cast = Cast({"en": {"fastpitch": 1.0}}, {"fastpitch": settings}, (1.0, 1.0), (1.0, 1.0))
    assert cast.voices("en") == {f"fastpitch:{speaker}": 0.25 for speaker in range(4)}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fastpitch", {}, r"missing config key engines\.fastpitch\.spectrogram"),
        ("fastpitch", {"spectrogram": "gone.nemo"}, r"engines\.fastpitch\.spectrogram: no such file: gone\.nemo"),
        ("magpie", {}, r"missing config key engines\.magpie\.model"),
        ("fastpitch", {"speakers": 3}, r"engines\.fastpitch: .*speakers"),
        ("festival", {}, "unknown voice engine 'festival'"),
    ],
)
def test_settings_that_cannot_work_are_named(name, settings, message):
    with pytest.raises(VTBError, match=message):
        open_engine(name, **settings)
