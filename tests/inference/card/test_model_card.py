"""The card beside an export: what the hub reads, and what a person must know."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.inference.card.data import licence_of, lora_rank, lora_scale
from nemo_vtb.models.checkpoints.file import read_checkpoint

NAMES = ("--llm", "HuggingFaceTB/SmolLM2-135M-Instruct", "--encoder", "openai/whisper-base")


@pytest.fixture
def told(trained: Any, tmp_path: Path) -> Path:
    """The trained checkpoint with the blend it was trained on, whose second source states no licence."""
    asterisk = {"type": "nemo", "manifest_filepath": "corpora:asterisk_prompts/manifest.jsonl", "only": {"lang": "en"}}
    own = {"manifest_filepath": str(tmp_path / "my_chats" / "chats.jsonl")}
    kinds = {"asr": {"share": 0.7, "input_cfg": [asterisk]}, "text": {"share": 0.3, "input_cfg": [own]}}
    checkpoint = read_checkpoint(trained[1])
    checkpoint["vtb"]["blend"] = {"unit": "total_tokens", "kinds": kinds}
    torch.save(checkpoint, tmp_path / "told.ckpt")
    (tmp_path / "my_chats").mkdir()
    return tmp_path / "told.ckpt"


def card(checkpoint: Path, form: str, folder: Path, *arguments: str) -> ModelCard:
    assert main(["export", str(checkpoint), "--to", form, "--out", str(folder), *NAMES, *arguments]) == 0
    return ModelCard.load(folder / "README.md")


@pytest.mark.parametrize(
    ("form", "relation", "loads"),
    [
        ("hf", "finetune", "VoiceTextBlender.from_pretrained"),
        ("merged", "finetune", "acts on text too"),
        ("adapter", "adapter", "PeftModel.from_pretrained"),
        ("slim", "adapter", "vtb chat FOLDER"),
    ],
)
def test_every_form_has_one(form: str, relation: str, loads: str, told: Path, tmp_path: Path):
    (tmp_path / "my_chats" / "README.md").write_text("---\nlicense: mit\nlanguage: [en, de]\n---\n")
    made = card(told, form, tmp_path / "out")
    header = made.data.to_dict()
    assert header["base_model"] == ["HuggingFaceTB/SmolLM2-135M-Instruct", "openai/whisper-base"]
    assert header["base_model_relation"] == relation and header["library_name"] == "nemo"
    assert header["pipeline_tag"] == "audio-text-to-text" and header["language"] == ["en", "de"]
    assert header["license"] == "cc-by-sa-3.0" and {"speech", "lora"} <= set(header["tags"])
    assert loads in made.text
    # LoRA that acts on text too is in the weights that vLLM reads.
    assert ("VLLM_PLUGINS=nemo_vtb vllm serve FOLDER" in made.text) == (form in ("hf", "merged"))
    assert "--enable-lora" not in made.text
    assert "| asr | 0.7 | `asterisk_prompts/manifest.jsonl` | cc-by-3.0, cc-by-sa-3.0 |" in made.text
    assert "| text | 0.3 | `my_chats/chats.jsonl` | mit |" in made.text
    for words in ("Apache-2.0", "rank 4, scale 2", "Shares are of total tokens", "5 steps", "not measured"):
        assert words in made.text
    assert str(tmp_path) not in made.content


def test_data_without_a_licence_is_pointed_out(told: Path, tmp_path: Path, capsys: Any):
    assert card(told, "slim", tmp_path / "out").data.license == "other"
    assert "no licence is stated for my_chats/chats.jsonl" in capsys.readouterr().err


def test_a_checkpoint_that_names_no_data_gets_it_from_a_config(trained: Any, tmp_path: Path, capsys: Any):
    made = card(trained[1], "slim", tmp_path / "out")
    assert "does not say what it was trained on" in made.text and made.data.license == "other"
    assert "--config-name" in capsys.readouterr().err
    made = card(trained[1], "slim", tmp_path / "named", "--config-name", "quickstart")
    assert "| mixed | 0.25 | `spoken_commands/mixed.jsonl` | apache-2.0 |" in made.text
    assert made.data.license == "apache-2.0"
    assert main(["export", str(trained[1]), "--to", "slim", "--out", str(tmp_path), "seed=1"]) == 2


@pytest.fixture
def one_step(run_folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A step of training on data whose folder holds a README.md of these words, and no more when it is over."""

    def train(words: str) -> Path:
        from nemo_vtb.training import build

        stated = run_folder / "README.md"
        stated.write_text(words)
        try:
            cfg = OmegaConf.create(json.loads((run_folder / "config.json").read_text()))
            cfg.trainer = {"accelerator": "cpu", "max_steps": 1, "logger": False, "enable_checkpointing": False}
            trainer, model, data = build(cfg)
            trainer.fit(model, data)
            trainer.save_checkpoint(tmp_path / "one.ckpt")
        finally:
            stated.unlink()
        return tmp_path / "one.ckpt"

    return train


def test_a_checkpoint_says_what_it_was_trained_on_where_the_data_is_not(one_step, tmp_path: Path, capsys: Any):
    checkpoint = one_step("---\nlicense: cc-by-4.0\nlanguage: [en]\n---\n")
    assert set(read_checkpoint(checkpoint)["vtb"]["blend"]["kinds"]) == {"text", "asr"}
    assert card(checkpoint, "adapter", tmp_path / "out").data.license == "apache-2.0"
    assert "no licence is stated" not in capsys.readouterr().err


def test_a_card_of_data_that_cannot_be_read_is_said_and_does_not_end_training(one_step, tmp_path: Path, warned: Any):
    checkpoint = one_step("---\nlicense: [mit\n---\n")
    assert "do not state the licences of their data" in warned.text
    assert card(checkpoint, "adapter", tmp_path / "out").data.license == "other"


def test_what_vtb_eval_measured_is_in_it(
    trained: Any, tiny_llm: Path, clip: SimpleNamespace, tmp_path: Path, capsys: Any
):
    row = {"audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en"}
    (tmp_path / "clips.jsonl").write_text(json.dumps(row) + "\n")
    sets = {"clips": {"kind": "asr", "type": "nemo", "manifest_filepath": str(tmp_path / "clips.jsonl")}}
    section = {"out": str(tmp_path / "eval"), "eval": {"max_new_tokens": 4, "bootstrap": 10, "sets": sets}}
    (tmp_path / "mine.yaml").write_text(OmegaConf.to_yaml(section))
    assert main(["eval", str(trained[1]), "--config-name=mine", f"--config-dir={tmp_path}"]) == 0
    report = tmp_path / "eval" / "eval.json"
    made = card(trained[1], "slim", tmp_path / "out", "--eval", str(report))
    measured = json.loads(report.read_text())["asr"]["en"]["wer"]["value"]
    assert f"| Speech recognition: en | word error rate | {100 * measured:.1f} [" in made.text
    assert "by `vtb eval` (nemo-vtb " in made.text and str(tmp_path) not in made.text
    other = json.loads(report.read_text())
    other["checkpoint"]["lora_rank"] = 64
    report.write_text(json.dumps(other))
    line = ["export", str(trained[1]), "--to", "slim", "--out", str(tmp_path / "other"), *NAMES, "--eval", str(report)]
    assert main(line) == 2
    assert "lora_rank 64, here 4" in capsys.readouterr().err


@pytest.mark.parametrize("own", [{}, {"r": 16}, {"lora_alpha": 64}, {"r": 4, "use_rslora": True}])
def test_rank_and_scale_are_those_that_are_trained(own: dict[str, Any], slim_cfg: Any):
    from nemo_vtb import VoiceTextBlender

    model = VoiceTextBlender(slim_cfg(lora={"target_modules": ["q_proj"], **own}))
    layer = model.llm.base_model.model.model.layers[0].self_attn.q_proj
    assert lora_rank(model.cfg) == layer.r["default"]
    assert lora_scale(model.cfg) == pytest.approx(layer.scaling["default"])
    assert lora_rank({"lora": None}) is None


@pytest.mark.parametrize(("form", "has_gate"), [("hf", True), ("slim", True), ("merged", False), ("adapter", False)])
def test_a_form_without_the_gate_does_not_claim_its_text(form: str, has_gate: bool, trained: Any, tmp_path: Path):
    checkpoint = read_checkpoint(trained[1])
    section = checkpoint["hyper_parameters"]["cfg"]
    section["text_lora"] = "audio_gated"
    torch.save(checkpoint, tmp_path / "gated.ckpt")
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 8}
    beside = {**score, "base": score, "change": score}
    forms = {"text": beside, "speech": beside, "gap": beside}
    about = {"llm": Path(section["pretrained_llm"]).name, "lora_rank": 4, "text_lora": "audio_gated"}
    report = {
        "checkpoint": about,
        "mixed": {**forms, "sets": {"one": forms, "other": forms}},
        "text": {"short": {"measure": "accuracy", "tuned": score, "base": score, "drop": score}},
    }
    (tmp_path / "eval.json").write_text(json.dumps(report))
    made = card(tmp_path / "gated.ckpt", form, tmp_path / "out", "--eval", str(tmp_path / "eval.json")).text
    assert "spoken, one | accuracy" in made and ": spoken | accuracy" in made
    for claim in (": short |", ": written |", ": written, one |", ": gap", "answered by the untouched LLM"):
        assert (claim in made) == has_gate, claim
    assert ("not measured of this form, whose LoRA acts on text too" in made) != has_gate


@pytest.mark.parametrize(
    ("names", "licence"),
    [
        (["Apache-2.0", "MIT", "cc-by-4.0"], "apache-2.0"),
        (["Apache-2.0", "cc-by-sa-3.0", "cc-by-3.0"], "cc-by-sa-3.0"),
        (["Apache-2.0", "cc-by-nc-4.0"], "other"),
        (["Apache-2.0", "not stated"], "other"),
        (["gemma", "cc-by-sa-3.0"], "other"),
    ],
)
def test_the_licence_is_one_that_all_parts_allow(names: list[str], licence: str):
    assert licence_of(names) == licence
