"""What an LLM on megatron-core cannot be is said in a sentence, with what can."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support import tiny

from nemo_vtb import VoiceTextBlender
from nemo_vtb.cli import main
from nemo_vtb.errors import VTBError
from nemo_vtb.modules.megatron import groups
from nemo_vtb.modules.megatron.families import check_sizes
from nemo_vtb.training import use_megatron


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("refused")
    llm = tiny.llm_folder(folder / "llm", "llama", {"vocab_size": 272})
    lora = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": "auto"}
    return tiny.section(llm, tiny.whisper_folder(folder / "whisper"), llm_backend="megatron", lora=lora)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tensor_model_parallel_size": 3}, "4 attention heads cannot be divided by 3; it can be 1, 2, 4"),
        ({"tensor_model_parallel_size": 2}, "start it with torchrun --nproc_per_node=2|does not divide the 1 ranks"),
        ({"tensor_model_parallel_size": 0}, "tensor_model_parallel_size is 0"),
        ({"llm_backend": "nemo"}, "llm_backend is 'nemo'"),
        ({"pipeline_model_parallel_size": 2}, "not cut into stages.*tensor_model_parallel_size"),
        ({"pretrained_weights": False}, "reads its weights from safetensors"),
        ({"quantization": "torchao_int8"}, "quantization"),
        ({"compile": ["llm"]}, "cannot be traced"),
        ({"loss_backend": "cut_cross_entropy"}, "loss_backend=c"),
        ({"freeze_params": [r"^perception\.encoder\..+$"], "lora": None}, "trains LoRA and nothing else of the LLM"),
        ({"lora": {"r": 4, "target_modules": ["q_proj"]}}, "it is auto, or some of linear_qkv"),
        ({"lora": {"r": 4, "use_dora": True}}, "use_dora is not supported with model.llm_backend=megatron"),
        ({"lora": {"r": 4, "init_lora_weights": "pissa"}}, "it is true or gaussian"),
        ({"lora": {"r": 4, "rank_pattern": {"q_proj": 8}}}, "rank_pattern names q_proj"),
    ],
)
def test_a_config_that_cannot_run(section: dict[str, Any], changed: dict[str, Any], said: str):
    with pytest.raises(VTBError, match=said) as error:
        VoiceTextBlender({**section, **changed})
    assert "\n" not in str(error.value)


def test_sizes_that_do_not_divide():
    class Config:
        num_attention_heads, num_key_value_heads, head_dim = 12, 4, 8
        hidden_size, intermediate_size, vocab_size = 96, 240, 1000

    for size, said in ((3, "4 key/value heads"), (6, "4 key/value heads"), (12, "8 wide")):
        with pytest.raises(VTBError, match=f"{said}.*it can be 1, 2, 4"):
            check_sizes(Config, size)
    Config.vocab_size = 1002
    with pytest.raises(VTBError, match="vocabulary of 1002 cannot be divided by 4; it can be 1, 2"):
        check_sizes(Config, 4)
    Config.intermediate_size = 242
    with pytest.raises(VTBError, match="242 MLP channels cannot be divided by 4; it can be 1, 2"):
        check_sizes(Config, 4)


def test_families_and_files(section: dict[str, Any], tmp_path: Path):
    other = tiny.llm_folder(tmp_path / "other", "granite", {"vocab_size": 272})
    with pytest.raises(VTBError, match="does not know the LLM family 'granite'; it knows llama, qwen2"):
        VoiceTextBlender({**section, "pretrained_llm": str(other)})
    biased = tiny.llm_folder(tmp_path / "biased", "llama", {"vocab_size": 272, "attention_bias": True})
    with pytest.raises(VTBError, match="a bias in o_proj"):
        VoiceTextBlender({**section, "pretrained_llm": str(biased)})
    pickled = tiny.llm_folder(tmp_path / "pickled", "llama", {"vocab_size": 272})
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(VTBError, match=r"has no model\.safetensors"):
        VoiceTextBlender({**section, "pretrained_llm": str(pickled)})


def test_rows_are_cut_on_gpus_only():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(VTBError, match="sequence_parallel=true needs GPUs"):
        groups._require_current_device()


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"strategy": "vtb_fsdp2"}, "trainer.strategy=vtb_fsdp2 cannot hold an LLM"),
        ({"precision": "16-mixed"}, "fall out of step: choose bf16-mixed"),
    ],
)
def test_trainers_that_do_not_fit(trainer: dict[str, Any], said: str):
    with pytest.raises(VTBError, match=said):
        use_megatron(OmegaConf.create({"trainer": trainer}))


def test_the_strategy_is_chosen():
    cfg = OmegaConf.create({"trainer": {"devices": 2}})
    use_megatron(cfg)
    assert cfg.trainer.strategy == "vtb_megatron"


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (["chat"], "say --tensor-parallel 3 to cut"),
        (["chat", "shipped", "--tensor-parallel", "2"], "say --tensor-parallel 3 to cut"),
        (["eval", "shipped"], "say tensor_model_parallel_size=3 to cut"),
        (["demo"], "each would do all of it: start it once"),
    ],
)
def test_processes_that_would_do_the_same(
    command: list[str], remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "torchrun started this command 3 times" in said and remedy in said


def test_a_conversation_alone_is_not_cut(capsys: pytest.CaptureFixture[str]):
    assert main(["chat", "shipped", "--tensor-parallel", "3"]) == 2
    assert "start it with torchrun --nproc_per_node=3" in capsys.readouterr().err
