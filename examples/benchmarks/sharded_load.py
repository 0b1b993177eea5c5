"""What building a model over FSDP2 takes of the host's memory, its LLM read in shards or whole by every rank.

python examples/benchmarks/sharded_load.py --json examples/benchmarks/results/sharded_load.json

A random Llama of 0.6 GB in bfloat16 is written first. Then each way of loading it has ranks of its own over gloo, in
fresh processes on the processor, up to the sharded model; both precisions of ``model.llm_dtype``. Peaks are the
kernel's (VmHWM) and of what is the process's own (RssAnon, looked at every 5 ms), above what the process held before:
pages of a mapped file count in the first alone, and ranks of one machine share those. The LLM is not tried out
(``model.prove=false``): over gloo that takes minutes, and needs the memory of a layer.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SHAPE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "vocab_size": 32000,
}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
WAYS = {"whole": False, "shards": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="an LLM of a megabyte, to see that it runs")
    parser.add_argument("--rank", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rank:
        folder, way, dtype, out = asked.rank
        Path(out).write_text(json.dumps(as_rank(Path(folder), WAYS[way], dtype)))
        return
    import torch
    import transformers

    found: dict[str, Any] = {
        "command": f"python examples/benchmarks/sharded_load.py --json {asked.json}",
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "ranks": asked.ranks,
        "shape": TINY if asked.tiny else SHAPE,
    }
    with tempfile.TemporaryDirectory(prefix="sharded_load_") as name:
        folder = Path(name)
        write_models(folder, found["shape"])
        found["file_mb"] = sum(path.stat().st_size for path in (folder / "llm").glob("*.safetensors")) / 1e6
        for dtype in ("bfloat16", "float32"):
            found[dtype] = {way: loaded(folder, way, dtype, asked.ranks) for way in WAYS}
    text = json.dumps(found, indent=1) + "\n"
    if asked.json:
        asked.json.write_text(text)
    print(text)


def write_models(folder: Path, shape: dict[str, int]) -> None:
    """A random LLM and a tiny random Whisper."""
    import torch
    from support.tiny import llm_folder, whisper_folder
    from transformers import AutoModelForCausalLM

    more = {"num_key_value_heads": shape["num_attention_heads"] // 4, "tie_word_embeddings": False}
    llm_folder(folder / "llm", "llama", shape | more, by=1.0)
    narrow = AutoModelForCausalLM.from_pretrained(folder / "llm", dtype=torch.bfloat16)
    narrow.save_pretrained(folder / "narrow", max_shard_size="500MB")
    for path in (folder / "llm").glob("*.safetensors*"):
        path.unlink()
    for path in (folder / "narrow").iterdir():
        path.replace(folder / "llm" / path.name)
    whisper_folder(folder / "encoder")


def loaded(folder: Path, way: str, dtype: str, ranks: int) -> dict[str, float]:
    """Of each figure, that of the rank that has most."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(ranks)}
    outs = [folder / f"{way}.{dtype}.{rank}.json" for rank in range(ranks)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--rank", str(folder), way, dtype, str(out)],
            env=os.environ | address | {"RANK": str(rank)},
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        if process.wait():
            raise SystemExit(f"a rank ended with {process.returncode}")
    found = [json.loads(out.read_text()) for out in outs]
    return {key: round(max(one[key] for one in found), 1) for key in found[0]}


def as_rank(folder: Path, wait: bool, dtype: str) -> dict[str, float]:
    """Builds and shards, and says what that took."""
    import torch
    from support.tiny import section
    from torch.distributed.device_mesh import init_device_mesh

    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.modules.llm.waiting import weights_may_wait

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    names = ("data_parallel", "tensor_parallel")
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(), 1), mesh_dim_names=names)
    cfg = section(folder / "llm", folder / "encoder", llm_dtype=dtype, prove=False)
    before, began = memory(), time.process_time()
    # The kernel's own count of the peak begins here.
    Path("/proc/self/clear_refs").write_text("5")
    with Peak() as peak:
        with weights_may_wait(wait):
            model = VoiceTextBlender(cfg)
        model._device_mesh = mesh
        model.configure_model()
        seconds = time.process_time() - began
    after = memory()
    torch.distributed.barrier()
    return {
        "peak_mb": after["VmHWM"] - before["VmRSS"],
        "own_peak_mb": peak.most - before["RssAnon"],
        "own_after_mb": after["RssAnon"] - before["RssAnon"],
        "cpu_seconds": seconds,
    }


def memory() -> dict[str, float]:
    """Megabytes by the kernel's names."""
    rows = (row.split() for row in Path("/proc/self/status").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 / 1e6 for row in rows if row[0].startswith(("Vm", "Rss"))}


class Peak:
    """The most that was the process's own within the block."""

    def __enter__(self) -> "Peak":
        self.most, self._ended = 0.0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.most = max(self.most, memory()["RssAnon"])


if __name__ == "__main__":
    main()
