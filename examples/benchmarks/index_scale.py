"""A blend over a million conversations: time to start, memory per conversation, and whether it stays flat.

    python examples/benchmarks/index_scale.py --json examples/benchmarks/results/index_scale.json

Half of the conversations are chats, half recognition rows over the shipped clips; real tokenizer, lengths measured. The
index is made once. Start-up is then measured in processes of their own, from an opened tokenizer to the first batch
with its audio; memory is what such a process holds beyond what it held before it opened the data.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from apart import apart

_AUDIO_TAG, _BATCH_TOKENS = "<|audio|>", 8192
_CORPORA = Path(__file__).parents[1] / "corpora"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=5_000, help="batches whose conversations are drawn from the index")
    parser.add_argument("--batches", type=int, default=200, help="batches that are loaded, with audio")
    parser.add_argument("--folder", type=Path, help="where the data is made and kept; by default it is thrown away")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(args, args.folder or Path(folder))
    text = json.dumps(measured, indent=2) + "\n"
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text)
    print(text)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from nemo_vtb.reports.environment import environment

    section = write_data(folder, args.conversations)
    dataset = _dataset()
    found = {
        "conversations": args.conversations,
        "first_index_seconds": apart(_first_index, section, dataset),
        **apart(_started, section, dataset, args.batches),
        "drawn": apart(_walked, section, dataset, args.steps),
        "data_bytes": sum(path.stat().st_size for path in folder.glob("*.jsonl")),
        "index_bytes": sum(path.stat().st_size for path in (folder / ".vtb_index").iterdir()),
    }
    return {**found, "environment": environment(f"python {' '.join(sys.argv)}", seed=0)}


def write_data(folder: Path, conversations: int) -> dict[str, Any]:
    """Writes the two files where they are not there yet, and returns a ``train_ds`` section over them."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    half = conversations // 2
    commands = _CORPORA / "spoken_commands"
    clips = [json.loads(line) for line in (commands / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    for clip in clips:
        path = commands / clip["audio_filepath"]
        header = soundfile.info(path)
        clip |= {"path": str(path), "rate": header.samplerate, "seconds": header.duration}
    chats = [json.loads(line) for line in (_CORPORA / "smollm2_chat/train.jsonl").read_text("utf-8").splitlines()]
    rows = {
        "asr": (
            {"id": f"a{n}", "audio_filepath": c["path"], "duration": c["seconds"], "sampling_rate": c["rate"],
             "text": c["text"], "lang": "en"}
            for n, c in enumerate(islice(cycle(clips), conversations - half))
        ),
        "text": ({**chat, "id": f"t{n}"} for n, chat in enumerate(islice(cycle(chats), half))),
    }  # fmt: skip
    for kind, of_kind in rows.items():
        path = folder / f"{kind}.jsonl"
        if not path.exists():
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in of_kind)
    kinds = {
        "asr": {"share": 0.5, "input_cfg": [{"type": "nemo", "manifest_filepath": str(folder / "asr.jsonl")}]},
        "text": {"share": 0.5, "input_cfg": [{"manifest_filepath": str(folder / "text.jsonl")}]},
    }
    common = {"audio_locator_tag": _AUDIO_TAG, "token_equivalent_duration": 0.08, "batch_tokens": _BATCH_TOKENS}
    return {**common, "prompt_format": "chatml", "blend": {"unit": "total_tokens", "kinds": kinds}}


def _dataset() -> Any:
    from nemo.collections.common.tokenizers import AutoTokenizer

    from nemo_vtb.assets import resolve
    from nemo_vtb.data.dataset import VTBDataset

    tokenizer = AutoTokenizer(resolve("smollm2-135m-instruct"), use_fast=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [_AUDIO_TAG]})
    return VTBDataset(tokenizer, "chatml", _AUDIO_TAG)


def _blend(section: dict[str, Any], dataset: Any) -> Any:
    from omegaconf import OmegaConf

    from nemo_vtb.data.datamodule import build_blend

    return build_blend(OmegaConf.create(section), dataset)


def _first_index(section: dict[str, Any], dataset: Any) -> float:
    begun = time.perf_counter()
    _blend(section, dataset)
    return time.perf_counter() - begun


def _started(section: dict[str, Any], dataset: Any, batches: int) -> dict[str, Any]:
    """Opens the data as training does, and loads batches; memory is looked at all along."""
    from nemo_vtb.data.loader import BlendLoader

    _warm_up(section, dataset)
    before = _held_bytes()
    begun = time.perf_counter()
    blend = _blend(section, dataset)
    opened = time.perf_counter() - begun
    rows = sum(len(source) for of_kind in blend.sources.values() for source in of_kind)
    loader = iter(BlendLoader(blend, dataset, _BATCH_TOKENS))
    next(loader)
    ready = time.perf_counter() - begun
    held = []
    for number in range(batches):
        next(loader)
        if number % max(1, batches // 10) == 0:
            held.append(_held_bytes() - before)
    return {
        "opened_seconds": opened,
        "first_batch_seconds": ready,
        "loader_bytes_per_conversation": max(held) / rows,
        "loader_bytes_over_time": held,
    }


def _walked(section: dict[str, Any], dataset: Any, steps: int) -> dict[str, Any]:
    """Draws from the index alone: many more conversations than can be loaded in the time."""
    blend = _blend(section, dataset)
    state, rows, seconds = blend.start(), 0, 0.0
    before, held = _held_bytes(), []
    for number in range(steps):
        begun = time.perf_counter()
        rows += sum(map(len, blend.step(state, _BATCH_TOKENS, 2)))
        seconds += time.perf_counter() - begun
        if number % max(1, steps // 10) == 0:
            held.append(_held_bytes() - before)
    return {"conversations": rows, "per_second": rows / seconds, "bytes_over_time": held}


def _warm_up(section: dict[str, Any], dataset: Any) -> None:
    """Loads a batch of a few conversations first: libraries that open at first use are not the data's memory."""
    from nemo_vtb.data.loader import BlendLoader

    with tempfile.TemporaryDirectory() as folder:
        few = write_data(Path(folder), 200)
        next(iter(BlendLoader(_blend(few, dataset), dataset, _BATCH_TOKENS)))


def _held_bytes() -> int:
    """Memory of this process, pages of mapped files included."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    main()
