"""What a rank holds of an LLM on megatron-core, by the size of tensor parallelism, measured over gloo on processors.

python examples/benchmarks/megatron_memory.py --json examples/benchmarks/results/megatron_memory.json

Every rank is a process of its own, forked before anything was built; resident memory is the kernel's count of it.
"""

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import torch
from megatron_llms import adapted, arguments, report, write_llm

SHAPE: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 8,
    "num_attention_heads": 16,
}
SHAPE |= {"num_key_value_heads": 4, "vocab_size": 32000, "tie_word_embeddings": True}
TINY = SHAPE | {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "vocab_size": 512}


def rank(folder: Path, number: int, size: int, positions: int) -> dict[str, float]:
    """Megabytes of a rank: its weights, and what it is larger by when it holds them and in a step."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=number, world_size=size)
    before = resident()
    llm = adapted(folder, torch.float32, size)
    built = resident()
    body, table = llm.base_model.model.model, llm.table
    ids = torch.randint(16, table.num_embeddings, (1, positions), generator=torch.Generator().manual_seed(1))
    states = body(inputs_embeds=table(ids), position_ids=torch.arange(positions)[None]).last_hidden_state
    held = resident()
    states.pow(2).mean().backward()
    frozen = sum(p.numel() * p.element_size() for p in [*llm.parameters(), *table.parameters()] if not p.requires_grad)
    return {"weights_mb": frozen / 1e6, "built_mb": built - before, "step_mb": held - built}


def resident() -> float:
    """Megabytes that are this process's own."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith(("RssAnon", "RssShmem"))) * 1024 / 1e6


def measure(folder: Path, size: int, positions: int) -> list[dict[str, float]]:
    """One dict of each rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    children = []
    for number in range(size):
        child = os.fork()
        if child == 0:
            try:
                (folder / f"rank{number}.json").write_text(json.dumps(rank(folder, number, size, positions)))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return [json.loads((folder / f"rank{number}.json").read_text()) for number in range(size)]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--positions", type=int, default=512)
    args = parser.parse_args()
    import megatron.core.tensor_parallel
    import megatron.core.transformer.transformer_layer
    import transformers

    shape = TINY if args.tiny else SHAPE
    found: dict[str, Any] = {"torch": torch.__version__, "transformers": transformers.__version__}
    found |= {"megatron_core": megatron.core.__version__, "shape": shape, "positions": args.positions, "sizes": {}}
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: what one has freed its children would fill again unseen.
        if (child := os.fork()) == 0:
            write_llm(Path(folder), shape)
            os._exit(0)
        os.waitpid(child, 0)
        for size in args.sizes:
            ranks = measure(Path(folder), size, args.positions)
            found["sizes"][str(size)] = {key: round(max(one[key] for one in ranks), 1) for key in ranks[0]}
    report(found, args.json)


if __name__ == "__main__":
    main()
