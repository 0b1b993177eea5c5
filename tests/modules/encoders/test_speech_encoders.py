"""Hugging Face speech encoders: the documented config lines, and what is refused."""

import pytest
import torch
from omegaconf import OmegaConf, open_dict

from nemo_vtb import registry
from nemo_vtb.errors import VTBError
from nemo_vtb.modules.build import build_perception

SPEECH = "nemo_vtb.modules.encoders.hugging_face.Speech"
WHISPER = "nemo_vtb.modules.whisper.Whisper"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
WAVE = {**SIZES, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}


@pytest.fixture(scope="module", autouse=True)
def registered():
    registry.register()


@pytest.fixture
def wav2vec2(tmp_path):
    """A folder with a random wav2vec 2.0 and its feature extractor."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    Wav2Vec2ForCTC(Wav2Vec2Config(**WAVE, vocab_size=8)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def section(tiny_cfg):
    def make(folder, ours=SPEECH, **more):
        cfg = tiny_cfg("vtb", pretrained_weights=True, pretrained_asr=str(folder))
        adapter = {**cfg["perception"]["modality_adapter"], **more.pop("adapter", {})}
        encode = {"preprocessor": {"_target_": f"{ours}Features"}, "encoder": {"_target_": f"{ours}Encoder"}}
        cfg["perception"] = {**encode, "modality_adapter": adapter, **more}
        return OmegaConf.create(cfg)

    return make


def test_a_fine_tuned_ctc_model_gives_its_encoder_at_50_frames_a_second(wav2vec2, section):
    perception = build_perception(section(wav2vec2), 64).eval()
    frames, lengths = perception(input_signal=torch.randn(1, 16000), input_signal_length=torch.tensor([16000]))
    assert perception.token_equivalent_duration == pytest.approx(0.02)
    assert lengths.tolist() == [49] and frames.shape == (1, 49, 64)


def test_silence_after_a_very_short_clip_is_not_an_error(wav2vec2, section):
    perception = build_perception(section(wav2vec2), 64).eval()
    _, lengths = perception(input_signal=torch.randn(1, 50), input_signal_length=torch.tensor([50]))
    assert lengths[0] > 0


def _layers(folder, count):
    import json

    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_hidden_layers": count}))


@pytest.mark.parametrize(("layers", "said"), [(1, "has 16 weights that its config has no place for"), (3, "lacks 16")])
def test_a_config_with_other_layers_than_the_weights_is_refused(wav2vec2, section, layers, said):
    _layers(wav2vec2, layers)
    with pytest.raises(VTBError, match=said):
        build_perception(section(wav2vec2), 64)


def test_whisper_with_other_layers_than_its_config_is_refused(tiny_whisper, section, tmp_path):
    import json
    import shutil

    folder = tmp_path / "whisper"
    shutil.copytree(tiny_whisper, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"encoder_layers": 2}))
    with pytest.raises(VTBError, match="lacks"):
        build_perception(section(folder, WHISPER), 64)


def test_without_a_feature_extractor_nobody_knows_what_it_is_fed(wav2vec2, section):
    (wav2vec2 / "preprocessor_config.json").unlink()
    with pytest.raises(VTBError, match=r"preprocessor_config\.json"):
        build_perception(section(wav2vec2), 64)


def test_fields_in_the_config_stand_in_for_the_file(wav2vec2, section):
    (wav2vec2 / "preprocessor_config.json").unlink()
    cfg = section(wav2vec2)
    with open_dict(cfg):
        cfg.perception.preprocessor.config = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    build_perception(cfg, 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"adapter": {"feat_in": 48}}, "feat_in is 48, the speech encoder has 32"),
     ({"encoder": {"_target_": f"{SPEECH}Encoder", "config": {"hidden_size": 48}}}, "hidden_size is 48"),
     ({"preprocessor": {"_target_": f"{WHISPER}Features"}}, "preprocessor._target_ must be"),
     ({"preprocessor": {"_target_": f"{SPEECH}Features", "hop_length": 160}}, "hop_length is 160"),
     ({"spec_augment": {"_target_": "nemo.collections.asr.modules.SpectrogramAugmentation"}}, "spec_augment")],
)  # fmt: skip
def test_a_section_that_disagrees_with_the_encoder_is_refused(wav2vec2, section, change, said):
    with pytest.raises(VTBError, match=said):
        build_perception(section(wav2vec2, **change), 64)


@pytest.mark.parametrize("ours", [WHISPER, SPEECH])
@pytest.mark.parametrize("kind", ["speech_to_text", "wav2vec2-conformer", "llama"])
def test_what_is_no_encoder_we_know_is_refused_by_its_class(section, tmp_path, ours, kind):
    from transformers import AutoConfig

    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    with pytest.raises(VTBError, match=f"of type '{kind}'"):
        build_perception(section(tmp_path, ours), 64)


def test_each_class_names_the_other_where_that_is_the_right_one(section, wav2vec2, tiny_whisper):
    with pytest.raises(VTBError, match=rf"_target_={SPEECH}Encoder and .*{SPEECH}Features"):
        build_perception(section(wav2vec2, WHISPER), 64)
    with pytest.raises(VTBError, match=rf"_target_={WHISPER}Encoder and .*{WHISPER}Features"):
        build_perception(section(tiny_whisper), 64)


def test_voxtral_gives_its_encoder_without_its_llm(section, tmp_path):
    from transformers import VoxtralConfig, VoxtralForConditionalGeneration, WhisperFeatureExtractor

    audio = {**SIZES, "num_mel_bins": 128}
    text = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 64}
    whole = VoxtralForConditionalGeneration(VoxtralConfig(audio_config=audio, text_config=text))
    whole.save_pretrained(tmp_path)
    WhisperFeatureExtractor(feature_size=128).save_pretrained(tmp_path)
    cfg = section(tmp_path, WHISPER)
    perception = build_perception(cfg, 64)
    own = dict(whole.named_parameters())
    for name, parameter in perception.encoder.encoder.named_parameters():
        theirs = next(p for key, p in own.items() if key.endswith(f"audio_tower.{name}"))
        assert torch.equal(parameter, theirs)
    assert cfg.perception.preprocessor.features == 128
