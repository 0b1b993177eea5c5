"""An LLM on megatron-core beside the same one of Hugging Face in one process: what they compute, take and hold.

python examples/benchmarks/megatron_gpu.py --device cuda --dtype bfloat16 --json megatron_gpu.json    # Gemma 2B's shape
python examples/benchmarks/megatron_gpu.py --tiny                                        # what the test runs

Weights are random: nothing is downloaded. Both run forward and backward over packed rows, LoRA on the same matrices.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from megatron_llms import RANK, adapted, arguments, report, write_llm
from torch import Tensor, nn

# Gemma 2B: one head of keys and values, a vocabulary of 256,000.
GEMMA_2B: dict[str, Any] = {
    "model_type": "gemma",
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
}
GEMMA_2B |= {"num_key_value_heads": 1, "head_dim": 256, "vocab_size": 256000}
TINY = GEMMA_2B | {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "head_dim": 16,
    "vocab_size": 512,
}


def on_one_rank(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The LLM on megatron-core, whole."""
    return adapted(folder, dtype, 1)


def hugging_face(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The same of Transformers, LoRA on its seven."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    llm = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return get_peft_model(llm, LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))


def measure(llm: nn.Module, ids: Tensor, positions: Tensor, steps: int) -> tuple[Tensor, dict[str, float]]:
    """Logits without LoRA's effect, and seconds and memory of a step of forward and backward."""
    device = ids.device
    llm.to(device).train()
    body, head = llm.base_model.model.model, llm.base_model.model.lm_head
    table = getattr(llm, "table", None) or body.embed_tokens
    with torch.no_grad():
        embeds = table(ids)
        logits = head(body(inputs_embeds=embeds, position_ids=positions, use_cache=False).last_hidden_state).float()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        states = body(inputs_embeds=embeds, position_ids=positions, use_cache=False).last_hidden_state
        states.float().pow(2).mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    found = {"step_seconds": sorted(seconds[1:])[steps // 2]}
    if device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return logits.cpu(), found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--length", type=int, default=1024, help="positions of a row, two conversations")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    shape = TINY if args.tiny else GEMMA_2B
    rows, length = (2, 24) if args.tiny else (args.rows, args.length)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    half = length // 2
    positions = torch.cat([torch.arange(half), torch.arange(length - half)]).expand(rows, -1).to(device)
    ids = torch.randint(16, shape["vocab_size"], (rows, length), generator=torch.Generator().manual_seed(1)).to(device)
    found: dict[str, Any] = {"torch": torch.__version__, "device": args.device, "dtype": args.dtype, "shape": shape}
    found |= {"rows": rows, "length": length}
    with tempfile.TemporaryDirectory() as folder:
        write_llm(Path(folder), shape, dtype)
        kept = {}
        for name, build in (("hugging_face", hugging_face), ("megatron", on_one_rank)):
            llm = build(Path(folder), dtype)
            kept[name], found[name] = measure(llm, ids, positions, args.steps)
            del llm
            if device.type == "cuda":
                torch.cuda.empty_cache()
    largest = kept["hugging_face"].abs().max().item()
    found["logits_far"] = (kept["hugging_face"] - kept["megatron"]).abs().max().item() / largest
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    report(found, args.json)


if __name__ == "__main__":
    main()
