"""One arm of step_vs_salm.py: a model, its batches, one pass under Lightning, and what that took."""

import gc
import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from nemo.collections.speechlm2.models import SALM
from torch.utils.data import DataLoader, Dataset

from nemo_vtb import VoiceTextBlender, registry
from nemo_vtb.data.dataset import VTBDataset


class Batches(Dataset):
    """Planned batches of conversations, loaded when they are asked for."""

    def __init__(self, dataset: Any, conversations: list[Any], plan: list[list[int]]) -> None:
        self._dataset, self._conversations, self.plan = dataset, conversations, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> dict[str, Any]:
        from lhotse import CutSet

        return self._dataset[CutSet([self._conversations[i] for i in self.plan[number]])]


class Meter(Callback):
    """Times steps and waits, counts positions; the first step warms up and is left out.

    Padded positions of stock SALM are read from what its LLM is given, ours from what it logs.
    """

    def __init__(self, ours: bool) -> None:
        self._ours = ours
        self._last_end = 0.0
        self._mask: Any = None
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: Trainer, model: Any) -> None:
        if not self._ours:
            model.llm.register_forward_pre_hook(self._see, with_kwargs=True)

    def on_train_batch_start(self, trainer: Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        _wait(model)
        self._start, self._cpu_start = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: Trainer, model: Any, out: Any, batch: Any, batch_idx: int) -> None:
        _wait(model)
        end = time.perf_counter()
        if batch_idx:
            metrics = trainer.callback_metrics
            # Stock SALM leaves out the last position of each row.
            real = int(metrics["sequence_length"]) if self._ours else int(self._mask.sum()) + len(self._mask)
            if self._ours:
                laid = round(real / (1 - float(metrics["padding_share"])))
            else:
                laid = self._mask.numel() + len(self._mask)
            self.rows.append(
                {
                    "wait": self._start - self._last_end,
                    "seconds": end - self._start,
                    # Of the processor, on a machine that others use too.
                    "cpu_seconds": time.process_time() - self._cpu_start,
                    "positions": real,
                    "laid_out": laid,
                    "supervised": int(batch["loss_mask"].sum()),
                    "loss": float(out["loss"]),
                }
            )
        self._last_end = time.perf_counter()

    def _see(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self._mask = kwargs["attention_mask"]


def prepare(shape: str, folder: Path, ours: dict[str, Any], count: int, seed: int, scale: float) -> Any:
    """Writes what all arms share: the model section, its weights, the conversations. Returns our model.

    Frozen weights are rounded to bfloat16, so that stock SALM's float32 and our bfloat16 copies hold the same numbers.
    """
    from omegaconf import OmegaConf
    from step_mix import corpus_mix, random_mix
    from step_models import model_section

    section = model_section(shape, folder)
    torch.manual_seed(seed)
    model = VoiceTextBlender(section)
    state = {
        name: tensor.bfloat16() if name not in model.trainable_names and tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save(state, folder / "weights.pt")
    cfg: dict[str, Any] = OmegaConf.to_container(model.cfg, resolve=True)
    # Random shapes that the weights are then loaded into: stock SALM can take real ones from NeMo checkpoints only.
    cfg["pretrained_weights"] = False
    if "pretrained_weights" in cfg["perception"]["encoder"]:
        cfg["perception"]["encoder"]["pretrained_weights"] = False
    (folder / "stock.json").write_text(json.dumps(cfg))
    (folder / "ours.json").write_text(json.dumps({**cfg, **ours}))
    if shape == "smollm2":
        conversations = corpus_mix(model.tokenizer, count, seed)
    else:
        audio = folder / "audio"
        audio.mkdir()
        conversations = random_mix(model.tokenizer, model.embed_tokens.num_embeddings, count, seed, audio, scale)
    torch.save(conversations, folder / "conversations.pt")
    return model


def run(arm: str, folder: Path, plan: list[list[int]], device: str, workers: int) -> dict[str, Any]:
    """Trains through the plan once.

    Returns:
        ``rows`` of the meter, and ``peak_memory_mb`` and ``peak_above_model_mb`` of the whole pass: resident memory of
        the process on a CPU, allocated memory on a GPU.
    """
    from nemo.utils.trainer_utils import resolve_trainer_cfg
    from omegaconf import DictConfig

    ours = arm == "ours"
    model = build(arm, folder).to(device)
    dataset = dataset_of(arm, model.tokenizer)
    conversations = torch.load(folder / "conversations.pt", weights_only=False)
    # The first batch twice: once to warm up.
    loader = DataLoader(Batches(dataset, conversations, [plan[0], *plan]), batch_size=None, num_workers=workers)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    accelerator = "gpu" if device == "cuda" else "cpu"
    section = {"accelerator": accelerator, "devices": 1, "precision": precision_of(device), **quiet}
    meter = Meter(ours)
    trainer = Trainer(**resolve_trainer_cfg(DictConfig({**section, "max_epochs": 1, "callbacks": []})))
    trainer.callbacks.append(meter)
    held = reset_memory(device)
    trainer.fit(model, loader, [])
    peak = peak_memory(device)
    return {"rows": meter.rows, "peak_memory_mb": peak, "peak_above_model_mb": peak - held}


def precision_of(device: str) -> str:
    """The precision of all arms: what ``auto`` is on this machine."""
    from nemo_vtb.parts.machine.choice import choose_precision
    from nemo_vtb.parts.machine.hardware import look

    return choose_precision(look(device)).value


def build(arm: str, folder: Path) -> Any:
    """The model of an arm with the shared weights."""
    registry.register()
    cfg = json.loads((folder / ("ours.json" if arm == "ours" else "stock.json")).read_text())
    model = VoiceTextBlender(cfg) if arm == "ours" else SALM(cfg)
    model.load_state_dict(torch.load(folder / "weights.pt", mmap=True, weights_only=True))
    return model


def dataset_of(arm: str, tokenizer: Any) -> Any:
    """The data set of an arm; both read ids and masks from the conversations themselves."""
    from nemo.collections.speechlm2.data import SALMDataset

    return VTBDataset(tokenizer) if arm == "ours" else SALMDataset(tokenizer)


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def reset_memory(device: str) -> float:
    """Starts the peak anew; returns what the loaded model takes in MB."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    import ctypes

    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_memory(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else _status("VmHWM")


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) / 1024
    raise RuntimeError(f"/proc/self/status has no {key}")
