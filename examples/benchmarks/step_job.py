"""What step_vs_salm.py runs in processes of their own."""

from pathlib import Path
from typing import Any

import step_arm
import step_mix
import torch


def prepare(shape: str, folder: Path, ours: dict[str, Any], count: int, seed: int, scale: float) -> dict[str, Any]:
    """See ``step_arm.prepare``; returns what was drawn."""
    step_arm.prepare(shape, folder, ours, count, seed, scale)
    lengths = _lengths(folder)
    return {
        "conversations": len(lengths),
        "audio_seconds": sum(length.audio_seconds for length in lengths),
        "longest": max(length.total for length in lengths),
    }


def plans(folder: Path, per_batch: int) -> dict[str, list[list[list[int]]]]:
    """Batches by arm, in one way or several."""
    lengths = _lengths(folder)
    static = step_mix.static_batches(lengths, per_batch)
    bucketed = [step_mix.bucketed_batches(lengths, times * len(static)) for times in (1, 2)]
    return {"ours": [static], "salm_static": [static], "salm_bucketed": bucketed}


run_arm = step_arm.run


def largest_batch(arm: str, folder: Path, sort: bool, device: str, most: int) -> int:
    """The most conversations, up to ``most``, whose step fits into memory.

    Bucketed batches hold like lengths; a batch of the longest must fit too, so ``sort`` takes those.
    """
    lengths = _lengths(folder)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i].total) if sort else list(range(len(lengths)))
    model = step_arm.build(arm, folder).to(device)
    if arm == "ours":
        model.configure_model()
    model.configure_optimizers()
    dataset = step_arm.dataset_of(arm, model.tokenizer)
    conversations = torch.load(folder / "conversations.pt", weights_only=False)
    batches = step_arm.Batches(dataset, conversations, [])

    def fits(number: int) -> bool:
        # A mix has fewer conversations than a large batch: it is repeated.
        batches.plan = [[order[i % len(order)] for i in range(number)]]
        batch = {key: value.to(device) if torch.is_tensor(value) else value for key, value in batches[0].items()}
        try:
            with torch.autocast(device, dtype=torch.bfloat16):
                loss = model.training_step(batch, 0)["loss"]
            loss.backward()
        except torch.cuda.OutOfMemoryError:
            return False
        finally:
            model.zero_grad(set_to_none=True)
        return True

    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def flops(folder: Path) -> dict[str, Any]:
    """Useful FLOPs of the whole mix and the device's peak."""
    from step_flops import FORMULA, peak_flops, useful_flops

    model = step_arm.build("ours", folder)
    peak = peak_flops(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None
    return {"flops": useful_flops(model, _lengths(folder), step_mix.FRAME_SECONDS), "formula": FORMULA, "peak": peak}


def about_machine(command: str, seed: int) -> dict[str, Any]:
    """Versions, host, device, command and seed."""
    from nemo_vtb.evaluation.environment import environment

    return environment(command, seed)


def _lengths(folder: Path) -> list[step_mix.Length]:
    return [step_mix.length_of(c) for c in torch.load(folder / "conversations.pt", weights_only=False)]
