"""LLMs on megatron-core against Hugging Face's own: what they compute, learn and answer, cut and whole."""

import json
from pathlib import Path
from typing import Any

from megatron_parity import run
from ranks import run_ranks

# What must not differ at all: hits, answers (greedy, drawn, beams), LoRA behind a closed gate, names of what learns.
EXACT = ("embeddings", "proof", "gate", "half gate", "scale", "hits", "answers", "count")
# Largest difference over largest value; kl in nats.
CLOSE = ("logits", "leak", "losses", "kl", "gradients", "given")


def found(folder: Path, cases: list[dict[str, Any]], ranks: int) -> dict[str, dict[str, float]]:
    assert run_ranks(run, folder, cases, ranks, ranks=ranks, timeout=300) == [0] * ranks
    return {case["name"]: json.loads((folder / f"{case['name']}.json").read_text()) for case in cases}


def test_every_family_cut_in_two(families: dict[str, Path], tmp_path: Path):
    cases = [{"name": name, "llm": str(folder)} for name, folder in families.items()]
    for name in ("llama", "gemma2"):
        cases.append({"name": f"{name}, rows cut", "llm": str(families[name]), "sequence_parallel": True})
    for name, far in found(tmp_path, cases, 2).items():
        assert not {key: far[key] for key in EXACT if far[key]}, name
        assert max(far[key] for key in CLOSE) < 1e-5, (name, far)


def test_one_rank_computes_the_same_bits(families: dict[str, Path], smollm2: Path, tmp_path: Path):
    llms = {**{name: families[name] for name in ("llama", "gemma2", "gemma3_text")}, "real": smollm2}
    for name, far in found(tmp_path, [{"name": name, "llm": str(llm)} for name, llm in llms.items()], 1).items():
        bits = {key: far[key] for key in (*EXACT, "logits", "losses", "kl") if far[key]}
        assert not bits, name
        assert far["gradients"] < 1e-5, name


def test_a_real_llm_cut_in_three(smollm2: Path, tmp_path: Path):
    single = {"name": "single", "llm": str(smollm2)}
    double = {"name": "double", "llm": str(smollm2), "dtype": "float64"}
    far = found(tmp_path, [single, double], 3)
    for name, of_one in far.items():
        assert not {key: of_one[key] for key in EXACT if of_one[key]}, name
        assert max(of_one[key] for key in ("logits", "losses")) < 1e-5, (name, of_one)
    # In single precision sums in another order move some gradients of a trained LLM by more than 1e-5 of the largest.
    assert far["single"]["gradients"] < 2e-4
    assert max(far["double"][key] for key in CLOSE) < 1e-12
