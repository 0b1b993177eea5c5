"""Each form of ``vtb export`` answers as the checkpoint does, where it is meant to be read."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from scripts import launch

from nemo_vtb.cli import main
from nemo_vtb.errors import VTBError

# Of logits in float32, whose size here is about 1: the same sums in another order.
BOUND = 1e-4


def exported(checkpoint: Path, form: str, folder: Path) -> Path:
    assert main(["export", str(checkpoint), "--to", form, "--out", str(folder), "--dtype", "float32"]) == 0
    return folder


@torch.no_grad()
def logits(model: Any, llm: Any = None) -> torch.Tensor:
    from nemo.collections.speechlm2.parts.pretrained import move_embedding

    embeds = model.embed_tokens(torch.arange(40, 60)[None])
    if llm is not None:
        return llm(inputs_embeds=embeds).logits
    with move_embedding(model):
        return model.llm(inputs_embeds=embeds).logits


def answer(model: Any, clip: SimpleNamespace) -> list[int]:
    turn = {"role": "user", "content": model.audio_locator_tag, "audio": [str(clip.path)]}
    return model.generate([[turn]], max_new_tokens=5)[0].tolist()


@pytest.mark.parametrize(("form", "lora"), [("hf", True), ("merged", False)])
def test_whole_models_answer_the_same(form: str, lora: bool, trained: Any, clip: Any, tmp_path: Path):
    from nemo_vtb import VoiceTextBlender

    model, path = trained
    read = VoiceTextBlender.from_pretrained(exported(path, form, tmp_path)).eval()
    assert hasattr(read.llm, "peft_config") == lora
    with model.backbone.without_lora():
        untuned = logits(model)
    assert (logits(model) - untuned).abs().max() > 100 * BOUND
    assert (logits(read) - logits(model)).abs().max() < BOUND
    assert answer(read, clip) == answer(model, clip)


def test_the_adapter_is_one_of_peft(trained: Any, tiny_llm: Path, tmp_path: Path):
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model, path = trained
    folder = exported(path, "adapter", tmp_path)
    llm = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llm), folder).eval()
    assert (logits(model, llm) - logits(model)).abs().max() < BOUND
    speech = load_file(folder / "speech.safetensors")
    assert set(speech) == {name for name in model.trainable_names if "lora_" not in name}


def test_a_merged_model_says_that_the_gate_is_gone(slim_cfg: Any, trained: Any, tmp_path: Path, capsys: Any):
    from nemo_vtb.models.checkpoints.file import read_checkpoint

    checkpoint = read_checkpoint(trained[1])
    checkpoint["hyper_parameters"]["cfg"]["text_lora"] = "audio_gated"
    torch.save(checkpoint, tmp_path / "gated.ckpt")
    exported(tmp_path / "gated.ckpt", "merged", tmp_path / "out")
    assert "acts on text too" in capsys.readouterr().err
    assert "lora" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_an_untrained_lora_is_refused(trained: Any, tmp_path: Path, capsys: Any):
    from nemo_vtb.models.checkpoints.file import read_checkpoint

    checkpoint = read_checkpoint(trained[1])
    for name in checkpoint["state_dict"]:
        if ".lora_B." in name:
            checkpoint["state_dict"][name] = torch.zeros_like(checkpoint["state_dict"][name])
    torch.save(checkpoint, tmp_path / "fresh.ckpt")
    assert main(["export", str(tmp_path / "fresh.ckpt"), "--to", "hf", "--out", str(tmp_path)]) == 2
    assert "nothing was learnt" in capsys.readouterr().err


def test_nemos_own_export_and_evaluation(trained: Any, clip: Any, tmp_path: Path):
    model, path = trained
    shutil.copy(Path(__file__).parent / "export_scripts.py", tmp_path)
    OmegaConf.save({"model": torch.load(path, weights_only=True)["hyper_parameters"]["cfg"]}, tmp_path / "exp.yaml")
    arguments = ["task=to_hf", "class_path=nemo_vtb.VoiceTextBlender", f"ckpt_path={path}", "ckpt_config=exp.yaml"]
    code, said = launch(tmp_path, *arguments, "output_dir=out", "dtype=float32", script="export_scripts.py")
    assert code == 0, said
    line = ["+vtb@_global_=eval", "pretrained_name=out", f"inputs={clip.path}", "dtype=float32"]
    for task in ("evaluate", "generate"):
        code, said = launch(tmp_path, *line, f"task={task}", script="export_scripts.py")
        assert code == 0 and f"ANSWERED VoiceTextBlender {answer(model, clip)} 0.08" in said, said


def test_nemos_vllm_plugin_finds_every_weight(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """vLLM itself is not here; the plugin's config class and its renaming of weights are NeMo's own."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    for name in ("vllm", "vllm.config", "vllm.logger", "nemo.collections.speechlm2.vllm.salm.audio"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["vllm.config"].VllmConfig = object
    sys.modules["vllm.logger"].init_logger = lambda name: SimpleNamespace(info=print, warning=pytest.fail)
    sys.modules["nemo.collections.speechlm2.vllm.salm.audio"]._pad_to_vocab_size = lambda tensor, size: (
        torch.nn.functional.pad(tensor, (0, 0, 0, size - len(tensor)))
    )
    from nemo.collections.speechlm2.vllm.salm.backends import TransformerBackend
    from nemo.collections.speechlm2.vllm.salm.config import NeMoSpeechLMConfig

    model, path = trained
    folder = exported(path, "merged", tmp_path)
    config = NeMoSpeechLMConfig(**json.loads((folder / "config.json").read_text()))
    # Its encoder would refuse a longer clip, and the server end with it.
    assert config.encoder_chunk_size_seconds == model.clip_encoder.most_samples / 16000
    backend = TransformerBackend(config)
    weights = load_file(folder / "model.safetensors")
    of_llm = [(name, tensor) for name, tensor in weights.items() if name.startswith(("llm.", "embed_tokens."))]
    assert {name.split(".")[0] for name in weights} == {"llm", "embed_tokens", "perception"}
    renamed = dict(backend.nemo_to_hf_llm_weights(backend.preprocess_llm_weights(of_llm)))
    # vLLM's own word for it.
    config.text_config.layer_types = ["full_attention"] * config.text_config.num_hidden_layers
    llm = AutoModelForCausalLM.from_config(config.text_config).eval()
    missing, unexpected = llm.load_state_dict(renamed, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    llm.tie_weights()
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

    perception = AudioPerceptionModule(OmegaConf.create(config.perception))
    of_speech = {name: tensor for name, tensor in weights.items() if name.startswith("perception.")}
    perception.load_state_dict({name.removeprefix("perception."): tensor for name, tensor in of_speech.items()})
    vocabulary = len(model.embed_tokens.weight)
    assert (logits(model, llm)[..., :vocabulary] - logits(model)).abs().max() < BOUND


def test_a_form_that_is_none_is_refused_before_anything_is_read(tmp_path: Path):
    from nemo_vtb.inference.export import export

    with pytest.raises(VTBError, match="there is no form 'gguf' of an export; there are hf, adapter, merged, slim"):
        export("nowhere.ckpt", "gguf", str(tmp_path / "out"))
