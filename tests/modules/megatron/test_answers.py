"""A checkpoint of either backbone on the other: exports, retention gate, evaluation and chat say the same."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from megatron_answers import ask
from megatron_joint import JOINT, run, write_run
from ranks import run_ranks
from support import tiny
from tiny_training import CHECKPOINT

from nemo_vtb import VoiceTextBlender
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.export import CardInputs, export
from nemo_vtb.models.checkpoints.file import read_checkpoint
from nemo_vtb.models.load import load_checkpoint

MEGATRON = {"llm_backend": "megatron", "tensor_model_parallel_size": 2}
SUITE = "corpora:smollm2_chat/suite.jsonl"
CHATS = "corpora:smollm2_chat/heldout.jsonl"
ASKED = {
    "retention": {
        "short": {"type": "replies", "path": SUITE, "at_most": 2, "max_new_tokens": 4},
        "chats": {"type": "likelihood", "path": CHATS, "at_most": 2},
    },
    "eval": [
        "~eval.sets",
        "+eval.sets.few={kind: asr, at_most: 1, max_new_tokens: 6, type: nemo, only: {split: test_new_voice}, "
        "manifest_filepath: 'corpora:spoken_commands/manifest.jsonl', prompts: quickstart}",
        "~eval.text",
        f"+eval.text.short={{type: replies, path: '{SUITE}', at_most: 1, max_new_tokens: 4}}",
        "eval.bootstrap=20",
        "threads=1",
        "precision=32-true",
    ],
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two ranks, LoRA on all text too."""
    folder = write_run(tmp_path_factory.mktemp("run") / "run", **{**JOINT, "text_lora": "always"}, **MEGATRON)
    assert run_ranks(run, folder, "log", 2, steps=3, every=100) == [0, 0]
    return folder / CHECKPOINT


def losses(model: VoiceTextBlender) -> torch.Tensor:
    batch = tiny.batch(model.eval(), [*tiny.CHATS, tiny.SPOKEN], 1)
    with torch.no_grad():
        return model.compute_losses(batch, *model.encode_clips(batch))[0]


def test_every_export_computes_what_was_trained(checkpoint: Path, tmp_path: Path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    held = read_checkpoint(checkpoint)
    whole = {name: value.shape for name, value in held["state_dict"].items() if "layers.0.mlp.linear_fc1" in name}
    assert sorted(shape[0] for shape in whole.values()) == [4, 256]
    moments = held["optimizer_states"][0]["state"]
    assert all(moments[name]["exp_avg"].shape == shape for name, shape in whole.items())
    trained = load_checkpoint(checkpoint, tensor_parallel=1)
    expected, here = losses(trained), load_checkpoint(checkpoint)
    assert type(here.backbone).__name__ == "HFBackbone" and "llm_backend" not in here.cfg
    torch.testing.assert_close(losses(here), expected, rtol=1e-5, atol=1e-5)
    folder = checkpoint.parent.parent
    names = CardInputs(llm=str(folder / "llm"), encoder=str(folder / "whisper"))
    for form in ("hf", "merged", "adapter", "slim"):
        export(str(checkpoint), form, str(tmp_path / form), "float32", names if form == "slim" else None)
    for form in ("hf", "merged"):
        torch.testing.assert_close(
            losses(VoiceTextBlender.from_pretrained(str(tmp_path / form))), expected, rtol=1e-4, atol=1e-4
        )
    assert torch.equal(losses(load_checkpoint(tmp_path / "slim")), losses(here))
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder / "llm", dtype=torch.float32), tmp_path / "adapter"
    )
    ids, positions = torch.arange(20, 60), torch.arange(40)[None]
    logits = trained.backbone.project(trained.backbone.hidden_states(trained.backbone.embed(ids)[None], positions))
    torch.testing.assert_close(plain(input_ids=ids[None]).logits, logits, rtol=1e-5, atol=1e-5)


def test_a_new_run_begins_on_either_backbone(checkpoint: Path, tmp_path: Path):
    section = json.loads((checkpoint.parent.parent / "config.json").read_text())["model"]
    expected = losses(load_checkpoint(checkpoint))
    on_hf = {key: value for key, value in section.items() if key not in MEGATRON}
    begun = VoiceTextBlender({**on_hf, "init_from": str(checkpoint)})
    assert torch.equal(losses(begun), expected)
    with pytest.raises(VTBError, match="llm_backend is hf, and the checkpoint's LoRA is that of megatron"):
        begun.on_load_checkpoint(read_checkpoint(checkpoint))
    export_names = CardInputs(llm=section["pretrained_llm"], encoder=section["pretrained_asr"])
    export(str(checkpoint), "slim", str(tmp_path / "fused"), "float32", export_names)
    alone = {**section, "tensor_model_parallel_size": 1}
    same = VoiceTextBlender({**alone, "init_from": str(tmp_path / "fused")})
    torch.testing.assert_close(losses(same), expected, rtol=1e-5, atol=1e-5)


def test_the_shipped_checkpoint_says_the_same_on_both(smollm2: Path, clip: SimpleNamespace, tmp_path: Path):
    found: list[dict[str, Any]] = []
    for ranks in (1, 3):
        assert run_ranks(ask, tmp_path, ranks, str(clip.path), ASKED, ranks=ranks, timeout=500) == [0] * ranks
        found.append(json.loads((tmp_path / f"answers{ranks}.json").read_text()))
    theirs, ours = found
    assert ours["said"] == theirs["said"] and sum(line.startswith("vtb> ") for line in ours["said"]) == 3
    assert ours["suites"] == theirs["suites"] and ours["kl"] == pytest.approx(theirs["kl"], rel=1e-4)
    answers = [(tmp_path / f"eval{ranks}" / "answers.jsonl").read_text() for ranks in (1, 3)]
    assert answers[0] == answers[1] and answers[0].count("\n") >= 2


def test_an_adapter_of_hugging_face_is_refused_at_its_own_rank(tmp_path: Path):
    folder = write_run(tmp_path / "hf", **JOINT)
    assert run_ranks(run, folder, "log", 1, ranks=1, steps=2, every=100) == [0]
    section = json.loads((folder / "config.json").read_text())["model"]
    there = {**section, "llm_backend": "megatron", "init_from": str(folder / CHECKPOINT)}
    with pytest.raises(VTBError, match=r"lora.rank_pattern is None, .* with \{'linear_qkv': 12, 'linear_fc1': 8\}"):
        VoiceTextBlender(there)
    there["lora"] = {
        **section["lora"],
        "rank_pattern": {"linear_qkv": 12, "linear_fc1": 8},
        "alpha_pattern": {"linear_qkv": 24, "linear_fc1": 16},
    }
    begun = VoiceTextBlender(there)
    torch.testing.assert_close(losses(begun), losses(load_checkpoint(folder / CHECKPOINT)), rtol=1e-5, atol=1e-5)
