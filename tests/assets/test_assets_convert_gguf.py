from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from nemo_vtb.assets.convert_gguf import convert_gguf
from nemo_vtb.errors import VTBError

from .tiny import tiny_llama, write_gguf


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gguf")
    write_gguf(root / "source" / "model.gguf", tiny_llama())
    (root / "hf").mkdir()
    convert_gguf(root / "source", root / "hf")
    return root / "hf"


def test_the_folder_holds_the_same_model_in_dense_bfloat16(folder: Path):
    converted, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    assert converted.dtype == torch.bfloat16
    assert not hasattr(converted.config, "quantization_config")
    assert type(converted.model.layers[0].self_attn.q_proj) is torch.nn.Linear
    state = converted.float().state_dict()
    assert all(torch.equal(state[name], value) for name, value in tiny_llama().state_dict().items())


def test_tokenizer_and_chat_template_come_along(folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "abc"}], tokenize=False)
    assert text == "<|im_start|>abc<|im_end|>"
    assert tokenizer(text).input_ids[0] == tokenizer.bos_token_id == 1
    assert tokenizer.eos_token == "<|im_end|>"


def test_white_space_before_a_number_stays_in_one_piece(folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("ab  12") == ["a", "b", "ĠĠ", "1", "2"]


def test_a_weight_that_is_not_in_the_file_is_named(tmp_path: Path):
    write_gguf(tmp_path / "model.gguf", tiny_llama(), without="blk.1.ffn_up.weight")
    with pytest.raises(VTBError, match=r"does not match.*model\.layers\.1\.mlp\.up_proj\.weight"):
        convert_gguf(tmp_path, tmp_path)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture):
    write_gguf(tmp_path / "source" / "model.gguf", tiny_llama())
    capfd.readouterr()
    convert_gguf(tmp_path / "source", tmp_path)
    assert capfd.readouterr() == ("", "")
