"""LLMs on megatron-core against Hugging Face's own: what they compute, learn and answer, cut and whole."""

import json
from pathlib import Path
from typing import Any

import torch
from megatron_parity import apart, run
from ranks import run_ranks

# What must not differ at all: hits, answers (greedy, drawn, beams), LoRA behind a closed gate, names of what learns.
EXACT = ("embeddings", "proof", "gate", "half gate", "scale", "hits", "answers", "count")
# Largest difference over largest value; kl in nats; gradients: of each, the size of the difference over its size.
CLOSE = ("logits", "leak", "losses", "kl", "gradients", "given")


def found(folder: Path, cases: list[dict[str, Any]], ranks: int) -> dict[str, dict[str, float]]:
    assert run_ranks(run, folder, cases, ranks, ranks=ranks, timeout=600) == [0] * ranks
    return {case["name"]: json.loads((folder / f"{case['name']}.json").read_text()) for case in cases}


def differing(far: dict[str, float], *more: str) -> dict[str, float]:
    return {key: far[key] for key in (*EXACT, *more) if far.get(key)}


def test_every_family_cut_in_two(families: dict[str, Path], tmp_path: Path):
    cases = [{"name": name, "llm": str(folder)} for name, folder in families.items()]
    for name in ("llama", "gemma2"):
        cases.append({"name": f"{name}, rows cut", "llm": str(families[name]), "sequence_parallel": True})
    for name, far in found(tmp_path, cases, 2).items():
        assert not differing(far), name
        assert max(far[key] for key in CLOSE) < 1e-5, (name, far)


def test_one_rank_computes_the_same_bits(families: dict[str, Path], smollm2: Path, tmp_path: Path):
    cases: list[dict[str, Any]] = [{"name": name, "llm": str(families[name])} for name in ("gemma2", "gemma3_text")]
    cases.append({"name": "real", "llm": str(smollm2), "only_learns": True})
    for name, far in found(tmp_path, cases, 1).items():
        assert not differing(far, "logits", "losses", "kl"), name
        assert far["gradients"] < 1e-5, name


def test_a_real_llm_cut_in_three(smollm2: Path, tmp_path: Path):
    """Every gradient within 1e-5 in double precision; in single, no further off than Hugging Face's own rounding.

    Rounding is how far Hugging Face's gradients in single precision are from its own in double, in the same run.
    """
    same = {"llm": str(smollm2), "only_learns": True}
    far = found(tmp_path, [{"name": name, **same, "dtype": name} for name in ("float32", "float64")], 3)
    assert not differing(far["float32"]) and not differing(far["float64"])
    assert max(far["float64"][key] for key in CLOSE) < 1e-12
    assert max(far["float32"][key] for key in ("logits", "losses")) < 1e-5
    single, double = (torch.load(tmp_path / f"{name}.pt") for name in ("float32", "float64"))
    assert set(single) == set(double) and len(single) == 30 * 7 * 2
    for name, (ours, theirs) in single.items():
        exact = double[name][1]
        rounding = apart(theirs, exact)
        assert max(apart(ours, exact), apart(ours, theirs)) < max(1e-5, 2 * rounding), (name, rounding)
