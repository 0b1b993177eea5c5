from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, WhisperForConditionalGeneration

from nemo_vtb.assets.convert_ct2_whisper import convert_ct2_whisper
from nemo_vtb.errors import VTBError

from .tiny import tiny_whisper, whisper_as_ct2, write_ct2_file, write_ct2_whisper


@pytest.fixture(scope="module")
def model():
    return tiny_whisper()


@pytest.fixture
def variables(model) -> dict[str, np.ndarray]:
    return whisper_as_ct2(model)


def convert(variables: dict[str, np.ndarray], tmp_path: Path) -> Path:
    write_ct2_whisper(tmp_path / "ct2", variables)
    (tmp_path / "hf").mkdir()
    convert_ct2_whisper(tmp_path / "ct2", tmp_path / "hf")
    return tmp_path / "hf"


def test_the_folder_holds_the_same_model(model, variables, tmp_path: Path):
    folder = convert(variables, tmp_path)
    converted, report = WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    state = converted.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    mel, tokens = torch.randn(1, 80, 40), torch.tensor([[1, 8, 9]])
    with torch.no_grad():
        logits = [m(input_features=mel, decoder_input_ids=tokens).logits for m in (model, converted.eval())]
    assert torch.equal(*logits)


def test_tokenizer_features_and_generation_settings_come_along(variables, tmp_path: Path):
    folder = convert(variables, tmp_path)
    processor = AutoProcessor.from_pretrained(folder)
    assert processor.feature_extractor.feature_size == 80
    ids = processor.tokenizer("ab c", add_special_tokens=False).input_ids
    assert processor.tokenizer.decode(ids) == "ab c"
    settings = WhisperForConditionalGeneration.from_pretrained(folder).generation_config
    assert settings.decoder_start_token_id == 1 and settings.no_timestamps_token_id == 6
    assert settings.suppress_tokens == [3] and settings.begin_suppress_tokens == [4]
    assert settings.is_multilingual is False


def test_a_missing_weight_is_named(variables, tmp_path: Path):
    del variables["decoder/layer_0/attention/linear_1/weight"]
    with pytest.raises(VTBError, match="missing decoder/layer_0/attention/linear_1/weight"):
        convert(variables, tmp_path)


def test_a_weight_without_a_place_is_named(variables, tmp_path: Path):
    variables["encoder/extra/weight"] = np.zeros(2, np.float16)
    with pytest.raises(VTBError, match=r"unexpected \['encoder/extra/weight'\]"):
        convert(variables, tmp_path)


def test_quantised_weights_are_refused(variables, tmp_path: Path):
    variables["encoder/conv1/weight"] = variables["encoder/conv1/weight"].astype(np.int8)
    with pytest.raises(VTBError, match="encoder/conv1/weight is int8"):
        convert(variables, tmp_path)


def test_a_key_bias_is_refused(variables, tmp_path: Path):
    bias = variables["encoder/layer_1/self_attention/linear_0/bias"]
    bias[len(bias) // 2] = 1
    with pytest.raises(VTBError, match="encoder/layer_1/self_attention/linear_0 has a key bias"):
        convert(variables, tmp_path)


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: data[:9], lambda data: data + b"more"])
def test_a_damaged_file_is_named(variables, tmp_path: Path, damage):
    write_ct2_whisper(tmp_path / "ct2", variables)
    path = tmp_path / "ct2" / "model.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VTBError, match=r"model\.bin"):
        convert_ct2_whisper(tmp_path / "ct2", tmp_path)


def test_another_architecture_is_refused(variables, tmp_path: Path):
    write_ct2_file(tmp_path / "model.bin", variables, spec="TransformerSpec")
    with pytest.raises(VTBError, match="holds a TransformerSpec, not a Whisper model"):
        convert_ct2_whisper(tmp_path, tmp_path)
