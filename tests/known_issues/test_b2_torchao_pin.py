"""NeMo pins peft 0.18 and lets torchao 0.18 in, which lacks a name that peft imports: LoRA then does not load."""

from pathlib import Path

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.versions import check_versions, require_supported_versions

_FINE = {"nemo_toolkit": "3.0.0", "lhotse": "1.33.0", "peft": "0.18.0", "torch": "2.13.0", "torchao": "0.17.0"}


def _lora(tiny_llm: Path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    llm = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny_llm))
    return get_peft_model(llm, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"]))


def test_stock_dependencies_do_not_import_lora(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch):
    import torchao.quantization

    # What torchao 0.18 did.
    monkeypatch.delattr(torchao.quantization, "LinearActivationQuantizedTensor")
    with pytest.raises(ImportError, match="LinearActivationQuantizedTensor"):
        _lora(tiny_llm)


def test_the_pair_is_reported_with_its_remedy():
    assert check_versions(_FINE) == []
    assert check_versions({k: v for k, v in _FINE.items() if k != "torchao"}) == []
    (problem,) = check_versions({**_FINE, "torchao": "0.18.0"})
    assert "torchao 0.18.0" in problem and "pip install 'torchao>=0.16,<0.18'" in problem
    with pytest.raises(VTBError, match=r"torchao 0\.18\.0"):
        require_supported_versions({**_FINE, "torchao": "0.18.0"})


def test_the_installed_versions_import_lora(tiny_llm: Path):
    assert check_versions() == []
    trainable = [name for name, parameter in _lora(tiny_llm).named_parameters() if parameter.requires_grad]
    assert len(trainable) == 8 and all("lora_" in name for name in trainable)
