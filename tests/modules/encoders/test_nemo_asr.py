"""The encoder of a ``.nemo`` file: its sizes are the file's, and a config that says others is refused."""

import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from nemo_vtb import registry
from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.modules.build import build_perception
from nemo_vtb.modules.encoders.nemo_asr import load_nemo_encoder

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))


@pytest.fixture(scope="module", autouse=True)
def registered():
    registry.register()


@pytest.fixture(scope="module")
def asr(tmp_path_factory):
    """A ``.nemo`` file with three layers."""
    from support.tiny import nemo_asr

    return nemo_asr(tmp_path_factory.mktemp("asr"), layers=3)


@pytest.fixture
def section(asr, tiny_cfg):
    def make(encoder, preprocessor=None, **adapter):
        cfg = tiny_cfg("vtb", pretrained_weights=True, pretrained_asr=str(asr))
        ours = {**cfg["perception"]["modality_adapter"], **adapter}
        cfg["perception"] = {"preprocessor": preprocessor or {}, "encoder": encoder, "modality_adapter": ours}
        return OmegaConf.create(cfg)

    return make


def test_all_layers_of_the_file_are_built_with_its_weights(asr, section):
    from nemo.collections.asr.models import ASRModel

    cfg = section({"dropout": 0.3})
    perception = build_perception(cfg, 64)
    theirs = ASRModel.restore_from(str(asr), map_location="cpu").encoder.state_dict()
    ours = perception.encoder.state_dict()
    assert len(perception.encoder.layers) == 3 and cfg.perception.encoder.dropout == 0.3
    assert set(ours) == set(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    ("own", "said"),
    [({"n_layers": 2}, r"encoder.n_layers is 2, model.pretrained_asr has 3.*~model.perception.encoder.n_layers"),
     ({"d_model": 64}, "d_model is 64"), ({"xscaling": False}, "xscaling"), ({"feat_in": 128}, "feat_in is 128"),
     ({"_target_": "nemo.collections.asr.modules.SqueezeformerEncoder"}, "_target_")],
)  # fmt: skip
def test_an_encoder_section_that_disagrees_is_refused(section, own, said):
    with pytest.raises(VTBError, match=said):
        build_perception(section(own), 64)


def test_features_and_adapter_that_disagree_are_refused(section):
    with pytest.raises(VTBError, match=r"preprocessor\.features is 128"):
        build_perception(section({}, {"features": 128}), 64)
    with pytest.raises(VTBError, match="feat_in is 48, the speech encoder has 32"):
        build_perception(section({}, feat_in=48), 64)


def test_weights_that_are_left_over_or_missing_are_refused(section):
    perception = build_perception(section({}), 64)
    state = perception.state_dict()
    with pytest.raises(
        VTBError, match=r"has no place in this config for 1 weights of the encoder, e.g. encoder.layers.3"
    ):
        load_nemo_encoder(perception, {**state, "encoder.layers.3.norm_out.weight": torch.zeros(32)}, "asr")
    lacking = {key: value for key, value in state.items() if not key.startswith("encoder.layers.2.")}
    with pytest.raises(VTBError, match=r"lacks \d+ weights of the encoder, e.g. encoder.layers.2"):
        load_nemo_encoder(perception, lacking, "asr")
    wrong = {**state, "encoder.layers.2.norm_out.weight": torch.zeros(7)}
    with pytest.raises(VTBError, match="does not fit"):
        load_nemo_encoder(perception, wrong, "asr")


def test_the_papers_config_takes_whatever_size_the_checkpoint_has(asr):
    """canary-1b-v2 has 32 layers where Canary-1B has 24: the shipped config must not cut it short."""
    overrides = [f"model.pretrained_asr={asr}", "model.perception.preprocessor.features=80"]
    cfg = compose("canary_gemma", overrides).model
    assert len(build_perception(cfg, 64).encoder.layers) == 3


@pytest.mark.parametrize("name", ["nvidia/canary-1b", "no/such.nemo", "stt_en_no_such_model"])
def test_a_model_out_of_reach_is_one_sentence(section, name):
    cfg = section({})
    cfg.pretrained_asr = name
    with pytest.raises(VTBError, match=rf"model\.pretrained_asr={name} cannot be loaded"):
        build_perception(cfg, 64)


def test_an_encoder_of_another_class_is_refused(section, tmp_path):
    from nemo.collections.asr.models import EncDecCTCModel

    module = "nemo.collections.asr.modules"
    block = {
        "filters": 16,
        "repeat": 1,
        "kernel": [3],
        "stride": [1],
        "dilation": [1],
        "dropout": 0.0,
        "residual": False,
    }
    cfg = {
        "preprocessor": {"_target_": f"{module}.AudioToMelSpectrogramPreprocessor", "features": 80},
        "encoder": {"_target_": f"{module}.ConvASREncoder", "feat_in": 80, "activation": "relu", "jasper": [block]},
        "decoder": {"_target_": f"{module}.ConvASRDecoder", "feat_in": 16, "num_classes": 1, "vocabulary": ["a"]},
    }
    EncDecCTCModel(OmegaConf.create(cfg)).save_to(str(tmp_path / "quartz.nemo"))
    section = section({})
    section.pretrained_asr = str(tmp_path / "quartz.nemo")
    with pytest.raises(VTBError, match="an encoder of class ConvASREncoder"):
        build_perception(section, 64)


def test_the_encoders_section_may_be_left_out(asr, tmp_path):
    from support.tiny import llm_folder, section

    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    cfg = section(llm_folder(tmp_path / "llm", "llama"), asr, "nemo")
    for key in ("encoder", "preprocessor"):
        del cfg["perception"][key]
    assert len(VoiceTextBlender(cfg).perception.encoder.layers) == 3
    cfg["pretrained_asr"] = str(tmp_path / "gone.nemo")
    with pytest.raises(VTBError, match=r"gone\.nemo"):
        VoiceTextBlender(cfg)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ({"n_heads": 5}, "n_heads is 5, by which d_model=32 cannot be divided"),
        ({"conv_kernel_size": 8}, "conv_kernel_size is 8; it must be odd"),
    ],
)
def test_an_adapter_that_cannot_be_built_is_refused_by_its_key(section, adapter, said):
    with pytest.raises(VTBError, match=said):
        build_perception(section({}, **adapter), 64)


def test_an_adapter_that_passes_frames_on_is_projected_to_the_llm(section):
    cfg = section({})
    cfg.perception.modality_adapter = {"_target_": "nemo.collections.speechlm2.modules.perception.IdentityConnector"}
    perception = build_perception(cfg, 64)
    frames, _ = perception(input_signal=torch.randn(1, 16000), input_signal_length=torch.tensor([16000]))
    assert frames.shape[-1] == 64
