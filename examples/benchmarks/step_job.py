"""What step_vs_salm.py runs in processes of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import deferred_nemo  # noqa: F401 - before NeMo, in whichever process
import step_arm
import step_mix
import torch
from step_flops import FORMULA, peak_flops, useful_flops

from nemo_vtb.parts.machine.choice import is_half


def prepare(shape: str, folder: Path, ours: dict[str, Any], count: int, seed: int, scale: float) -> dict[str, Any]:
    """See ``step_arm.prepare``; returns what was drawn and what one pass over it has to compute."""
    model = step_arm.prepare(shape, folder, ours, count, seed, scale)
    lengths = _lengths(folder)
    return {
        "conversations": len(lengths),
        "audio_seconds": sum(length.audio_seconds for length in lengths),
        "longest": max(length.total for length in lengths),
        "useful_flops": useful_flops(model, lengths, step_mix.FRAME_SECONDS),
        "flop_count": FORMULA,
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
    take_step = _stepper(arm, folder, device)

    def fits(number: int) -> bool:
        try:
            # A mix has fewer conversations than a large batch: it is repeated.
            take_step([order[i % len(order)] for i in range(number)])
        except torch.cuda.OutOfMemoryError:
            return False
        return True

    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def profile(folder: Path, batch: list[int], device: str) -> dict[str, float]:
    """Shares of the time of one of our steps by operator, largest first, of the device's time on a GPU."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    take_step = _stepper("ours", folder, device)
    take_step(batch)
    activities = [ProfilerActivity.CUDA] if device == "cuda" else []
    with recorded(activities=[ProfilerActivity.CPU, *activities]) as record:
        take_step(batch)
    own = {e.key: e.self_device_time_total if activities else e.self_cpu_time_total for e in record.key_averages()}
    largest = sorted(own, key=lambda name: -own[name])[:12]
    return {name: round(own[name] / sum(own.values()), 4) for name in largest}


def _stepper(arm: str, folder: Path, device: str) -> Callable[[list[int]], None]:
    """Runs forward and backward over the given conversations; gradients are gone afterwards, whatever happened."""
    model = step_arm.build(arm, folder).to(device)
    # Stock SALM freezes here, ours casts in the other.
    model.configure_optimizers()
    if arm == "ours":
        model.configure_model()
    conversations = torch.load(folder / "conversations.pt", weights_only=False)
    dataset = step_arm.dataset_of(arm, model.tokenizer)

    half = is_half(step_arm.precision_of(device))

    def take_step(picked: list[int]) -> None:
        batch = step_arm.Batches(dataset, conversations, [picked])[0]
        batch = {key: value.to(device) if torch.is_tensor(value) else value for key, value in batch.items()}
        try:
            with torch.autocast(device, torch.bfloat16, enabled=half):
                loss = model.training_step(batch, 0)["loss"]
            loss.backward()
        finally:
            model.zero_grad(set_to_none=True)

    return take_step


def about_machine(command: str, seed: int) -> tuple[dict[str, Any], float | None]:
    """Versions, host, device, command and seed; the peak FLOP/s.

    Of a GPU it is the data sheet's, where it is known; of a processor what one core does now in matrix products, in
    the type that is fastest there.
    """
    from nemo_vtb.parts.machine.hardware import matrix_rates
    from nemo_vtb.reports.environment import environment

    if torch.cuda.is_available():
        return environment(command, seed), peak_flops(torch.cuda.get_device_name(0))
    return environment(command, seed), 1e9 * max(matrix_rates().values())


def matrix_rate(device: str) -> dict[str, Any]:
    """What the device does now in matrix products of its fastest type; of a processor one core's.

    Returns:
        ``flops`` a second and the ``type``.
    """
    from nemo_vtb.parts.machine.hardware import matrix_rates

    if device == "cpu":
        rates = matrix_rates()
        best = max(rates, key=lambda name: rates[name])
        return {"flops": 1e9 * rates[best], "type": best}
    size, times = 8192, 10
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(6):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(times):
            left @ right
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1000 / times)
    return {"flops": 2 * size**3 / min(seconds[1:]), "type": "bfloat16"}


def _lengths(folder: Path) -> list[step_mix.Length]:
    return [step_mix.length_of(c) for c in torch.load(folder / "conversations.pt", weights_only=False)]
