"""Two real processes whose batches are not alike, under DDP and FSDP2: the step of one process that has all batches."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ranks import run_ranks
from two_ranks_worker import batch_statistics, build_model, fit_all, gradients, trained

_BATCH_KEYS = ("audios", "audio_lens", "input_ids", "loss_mask", "encoded", "transcripts", "written", "audio_ids")
_SGD = {"_target_": "torch.optim.SGD", "lr": 1.0}

# Rank 0 first. With SGD at a rate of 1 a step is the gradient itself.
_SCENARIOS: dict[str, dict[str, Any]] = {
    "ddp": {"strategy": "ddp", "model": "adam", "batches": [["text"], ["speech"]], "validate": [1, 3]},
    "ddp_accumulated": {
        "strategy": "ddp",
        "model": "layer_norm",
        "batches": [["text", "speech0"], ["nothing", "speech1"]],
        "accumulate": 2,
    },
    "fsdp2": {"strategy": "fsdp2", "model": "sgd", "batches": [["text"], ["speech"]], "validate": [2, 2]},
    "fsdp2_nothing": {"strategy": "fsdp2", "model": "sgd", "batches": [["nothing"], ["speech"]], "clip": 100.0},
    "fsdp2_whole": {"strategy": "fsdp2", "model": "whole", "batches": [["text"], ["speech"]]},
    "fsdp2_untied": {"strategy": "fsdp2", "model": "untied", "batches": [["text"], ["speech"]]},
    "fsdp2_cache": {"strategy": "fsdp2", "model": "cache", "batches": [["text"], ["speech"]]},
    "fsdp2_kl": {"strategy": "fsdp2", "model": "kl", "batches": [["text"], ["speech"]]},
    "ddp_broken": {"strategy": "ddp", "model": "sgd", "batches": [["text"], ["broken"]]},
    "fsdp2_skipped": {
        "strategy": "fsdp2",
        "model": "skip",
        "batches": [["text", "text"], ["broken", "speech"]],
        "steps": 2,
    },
}


@pytest.fixture(scope="module")
def folder(
    tiny_cfg: Callable,
    tokenizer: Any,
    conversation: Callable,
    clips: list[SimpleNamespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Batches of text, of speech, of both, one without targets, one with a broken clip; and the models' configs."""
    from nemo_vtb import VTBDataset
    from nemo_vtb.parts.prompts.turn_mask import EncodedConversation

    text = conversation("t", ("user", "Count to five, please."), ("assistant", "One, two, three, four, five."))
    speech = [conversation(c.path.stem, ("user", c.path), ("assistant", c.text)) for c in clips[:2]]
    for each, clip in zip(speech, clips[:2], strict=True):
        each.turns[0].text = clip.text
    dataset = VTBDataset(tokenizer, "qwen")
    folder = tmp_path_factory.mktemp("two_ranks")
    made = {"text": [text], "speech": speech, "speech0": speech[:1], "speech1": speech[1:], "all": [text, *speech]}
    for name, conversations in made.items():
        batch = dataset[conversations]
        torch.save({key: batch[key] for key in _BATCH_KEYS} | {"conversations": conversations}, folder / f"{name}.pt")
    nothing = torch.load(folder / "text.pt", weights_only=False)
    nothing["encoded"] = [EncodedConversation(e.input_ids, np.zeros_like(e.loss_mask)) for e in nothing["encoded"]]
    torch.save(nothing, folder / "nothing.pt")
    broken = torch.load(folder / "speech.pt", weights_only=False)
    broken["audios"][1, 100] = float("nan")
    torch.save(broken, folder / "broken.pt")
    configs = {
        "adam": tiny_cfg("vtb"),
        "sgd": tiny_cfg("vtb", optimizer=_SGD),
        "whole": tiny_cfg(
            "vtb", optimizer=_SGD, lora=None, freeze_params=[], activation_checkpointing=["llm", "encoder"]
        ),
        "cache": tiny_cfg("vtb", optimizer=_SGD, encoder_cache=True),
        "kl": tiny_cfg("vtb", optimizer=_SGD, text_kl=2.0, spoken_kl=1.0, alignment={"weight": 0.5}),
        "skip": tiny_cfg("vtb", optimizer=_SGD, skip_non_finite=1),
    }
    fields = json.loads((Path(configs["sgd"]["pretrained_llm"]) / "config.json").read_text())
    untied = {**fields, "tie_word_embeddings": False}
    configs["untied"] = tiny_cfg("vtb", optimizer=_SGD, lora=None, freeze_params=[], llm_config=untied)
    # Batch statistics of clips that are encoded apart differ from those of clips that are encoded together.
    configs["layer_norm"] = tiny_cfg("vtb", optimizer=_SGD)
    configs["layer_norm"]["perception"]["encoder"]["conv_norm_type"] = "layer_norm"
    configs["cache"]["freeze_params"].append(r"^perception\.encoder\..+$")
    for name, cfg in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(cfg))
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each rank ended with, per scenario."""
    assert run_ranks(fit_all, folder, _SCENARIOS, timeout=600) == [0, 0]
    return {
        name: [torch.load(folder / f"{name}.rank{rank}.pt", weights_only=True) for rank in (0, 1)]
        for name in _SCENARIOS
    }


def _one_process(folder: Path, model_name: str, batch_name: str) -> dict[str, Any]:
    """The same step of one process that has all batches."""
    model = build_model(json.loads((folder / f"{model_name}.json").read_text()))
    start = trained(model)
    optimizer = model.configure_optimizers()["optimizer"]
    model.training_step(torch.load(folder / f"{batch_name}.pt", weights_only=False), 0)["loss"].backward()
    found = gradients(model)
    optimizer.step()
    return {"start": start, "gradients": found, "parameters": trained(model)}


@pytest.fixture(scope="module")
def one_process(folder: Path) -> dict[str, Any]:
    return _one_process(folder, "adam", "all")


def _assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", [name for name in _SCENARIOS if name != "ddp_broken"])
def test_both_ranks_end_with_the_same_weights(ranks: dict[str, list[dict[str, Any]]], name: str):
    first, second = (rank["parameters"] for rank in ranks[name])
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_gradients_are_those_of_one_process_with_both_batches(
    ranks: dict[str, list[dict[str, Any]]], one_process: dict[str, Any]
):
    expected = one_process["gradients"]
    for rank in ranks["ddp"]:
        _assert_same(rank["gradients"], expected)
    for part in ("lora_A", "lora_B", "perception.encoder", "perception.modality_adapter"):
        assert any(part in name and float(gradient.abs().max()) > 1e-4 for name, gradient in expected.items()), part


def test_only_what_trains_is_reduced(ranks: dict[str, list[dict[str, Any]]], one_process: dict[str, Any]):
    assert [rank["reduced"] for rank in ranks["ddp"]] == [len(one_process["parameters"])] * 2


def test_the_step_is_that_of_one_process(ranks: dict[str, list[dict[str, Any]]], one_process: dict[str, Any]):
    start = one_process["start"]
    moved = {name for name, value in one_process["parameters"].items() if not torch.equal(value, start[name])}
    assert moved == set(start)
    for name, value in ranks["ddp"][0]["parameters"].items():
        # Adam's first step is the sign of the gradient; where that is all but zero, rounding may decide it.
        clear = one_process["gradients"][name].abs() > 1e-5
        torch.testing.assert_close(value[clear], one_process["parameters"][name][clear], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("scenario", "batch"),
    [
        ("fsdp2", "all"),
        ("fsdp2_whole", "all"),
        ("fsdp2_untied", "all"),
        ("fsdp2_kl", "all"),
        ("fsdp2_cache", "all"),
        ("fsdp2_nothing", "speech"),
    ],
)
def test_sharded_ranks_take_the_step_of_one_process(
    ranks: dict[str, list[dict[str, Any]]], folder: Path, scenario: str, batch: str
):
    expected = _one_process(folder, _SCENARIOS[scenario]["model"], batch)
    assert ranks[scenario][0]["shards"] == ["DTensor"]
    _assert_same(ranks[scenario][0]["parameters"], expected["parameters"])


def test_tied_embeddings_stay_tied_when_they_are_sharded_and_trained(
    ranks: dict[str, list[dict[str, Any]]], folder: Path
):
    start = _one_process(folder, "whole", "all")["start"]
    assert "embed_tokens.weight" in start and "llm.lm_head.weight" not in start
    assert not torch.equal(ranks["fsdp2_whole"][0]["parameters"]["embed_tokens.weight"], start["embed_tokens.weight"])


def test_untied_ends_are_sharded_and_trained_apart(ranks: dict[str, list[dict[str, Any]]], folder: Path):
    start = _one_process(folder, "untied", "all")["start"]
    for name in ("embed_tokens.weight", "llm.lm_head.weight"):
        assert not torch.equal(ranks["fsdp2_untied"][0]["parameters"][name], start[name]), name


def test_validation_weighs_tokens_whatever_the_number_of_batches(ranks: dict[str, list[dict[str, Any]]], folder: Path):
    results = ranks["ddp"]
    assert results[0]["validation"] == results[1]["validation"]
    model = build_model(json.loads((folder / "adam.json").read_text())).eval()
    # DDP gives every rank the batch statistics of rank 0 before validation.
    model.load_state_dict({**model.state_dict(), **results[0]["parameters"], **results[0]["statistics"]})
    total, tokens = 0.0, 0
    for name, times in (("text", 1), ("speech", 3)):
        batch = torch.load(folder / f"{name}.pt", weights_only=False)
        with torch.no_grad():
            losses, *_ = model.compute_losses(batch, *model.encode_clips(batch))
        total, tokens = total + times * float(losses.sum()), tokens + times * len(losses)
    assert float(results[0]["validation"]["val_loss"]) == pytest.approx(total / tokens, abs=1e-4)


def test_sharded_validation_runs_with_text_on_one_rank(ranks: dict[str, list[dict[str, Any]]]):
    first, second = (rank["validation"] for rank in ranks["fsdp2"])
    assert first == second and float(first["val_loss"]) > 0


def test_the_text_only_rank_leaves_batch_statistics_alone(ranks: dict[str, list[dict[str, Any]]], folder: Path):
    start = batch_statistics(build_model(json.loads((folder / "adam.json").read_text())))
    assert start and start.keys() == ranks["ddp"][0]["statistics"].keys()
    assert all(torch.equal(value, ranks["ddp"][0]["statistics"][name]) for name, value in start.items())
    assert not all(torch.equal(value, ranks["ddp"][1]["statistics"][name]) for name, value in start.items())


def test_a_broken_clip_stops_both_ranks_before_the_step_and_is_named(
    ranks: dict[str, list[dict[str, Any]]], folder: Path, clips: list[SimpleNamespace]
):
    start = trained(build_model(json.loads((folder / "sgd.json").read_text())))
    for rank in ranks["ddp_broken"]:
        assert clips[1].path.stem in rank["error"] and clips[0].path.stem not in rank["error"]
        assert all(torch.equal(value, start[name]) for name, value in rank["parameters"].items())


def test_a_step_that_may_be_left_out_is_counted_on_both_ranks(ranks: dict[str, list[dict[str, Any]]], folder: Path):
    expected = _one_process(folder, "skip", "all")
    for rank in ranks["fsdp2_skipped"]:
        assert rank["skipped"] == 1
        _assert_same(rank["parameters"], expected["parameters"])


def test_accumulated_micro_batches_of_two_ranks_are_one_batch(ranks: dict[str, list[dict[str, Any]]], folder: Path):
    _assert_same(ranks["ddp_accumulated"][0]["parameters"], _one_process(folder, "layer_norm", "all")["parameters"])
