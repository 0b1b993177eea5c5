"""The tables of SCALING.md: bytes moved per step, efficiency against network speed, failures against saving.

python examples/slurm/scaling.py > tables.md
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)
PER_NODE = 8
FLOAT32, BFLOAT16 = 4, 2


@dataclass(frozen=True)
class Model:
    """Elements of each part.

    Attributes:
        llm: Frozen, bfloat16.
        encoder: Of the speech encoder.
        adapter: Modality adapter, trained.
        lora: Trained.
        encoder_trains: Whether the encoder is fine-tuned.
    """

    llm: float
    encoder: float
    adapter: float
    lora: float
    encoder_trains: bool = True

    @property
    def trained(self) -> float:
        return self.adapter + self.lora + self.encoder * self.encoder_trains

    @property
    def all(self) -> float:
        return self.llm + self.encoder + self.adapter + self.lora

    @property
    def gradient_bytes(self) -> float:
        """Trained elements alone have gradients, in float32."""
        return FLOAT32 * self.trained

    @property
    def weight_bytes(self) -> float:
        return FLOAT32 * self.trained + BFLOAT16 * (self.all - self.trained)

    def flops(self, positions: int, audio_share: float) -> tuple[float, float]:
        """Forward and backward of one GPU's step; frozen weights have no gradient of their own."""
        frames = positions * audio_share
        forward = 2 * (positions * (self.llm + self.lora) + frames * (self.encoder + self.adapter))
        backward = 2 * positions * (self.llm + 2 * self.lora) + 4 * frames * self.adapter
        return forward, backward + 4 * frames * self.encoder * self.encoder_trains


@dataclass(frozen=True)
class Machine:
    """What is assumed of the cluster, none of it measured here.

    Attributes:
        flops: Reached by a GPU.
        node_bytes: Per second between the GPUs of a node, per GPU.
        network_bytes: Per second into or out of a node, all its cards together.
        latency: Seconds per hop.
    """

    flops: float = 0.35 * 989e12
    node_bytes: float = 360e9
    network_bytes: float = 400e9
    latency: float = 20e-6


PAPER = Model(llm=2.5e9, encoder=609e6, adapter=52e6, lora=36e6)
FROZEN_ENCODER = Model(llm=2.5e9, encoder=609e6, adapter=52e6, lora=36e6, encoder_trains=False)
AUDIO_SHARE = 0.6
BUCKET = 25e6
NETWORKS = {"100 Gb/s": 12.5e9, "400 Gb/s": 50e9, "3.2 Tb/s": 400e9}


def ring(ranks: int) -> float:
    """What an all-gather or a reduce-scatter moves, in parts of the whole; an all-reduce is both."""
    return (ranks - 1) / ranks


def out_of_node(model: Model, nodes: int, strategy: str) -> float:
    """Bytes that leave a node in a step, all its GPUs together; as many arrive."""
    gradients, weights = model.gradient_bytes, model.weight_bytes
    moved = {
        "ddp": 2 * gradients,
        "ddp, everything": 2 * FLOAT32 * model.all,
        # Gathers stay in the node, where a copy is.
        "vtb_hsdp": 2 * gradients,
        # Weights for the forward and for the backward pass, gradients once.
        "vtb_fsdp2": 2 * weights + gradients,
    }
    return ring(nodes) * moved[strategy]


def step_seconds(model: Model, machine: Machine, gpus: int, positions: int) -> tuple[float, float]:
    """A step under DDP, and what of it is arithmetic; reduction runs beside the backward pass."""
    forward, backward = (work / machine.flops for work in model.flops(positions, AUDIO_SHARE))
    nodes = max(1, gpus // PER_NODE)
    inside = 2 * ring(min(gpus, PER_NODE)) * model.gradient_bytes / machine.node_bytes
    between = out_of_node(model, nodes, "ddp") / machine.network_bytes
    hops = 2 * math.log2(nodes) * machine.latency * math.ceil(model.gradient_bytes / BUCKET)
    exposed = max(0.0, inside + between + hops - backward)
    return forward + backward + exposed, forward + backward


@dataclass(frozen=True)
class Decoder:
    """An LLM for the choice between tensor parallelism and FSDP2: its layers, their width, its weights."""

    layers: int
    width: int
    weights: float

    def sharded_bytes(self, ranks: int) -> float:
        """What a GPU receives under FSDP2 in a step, however many positions: all weights, forward and backward."""
        return 2 * ring(ranks) * BFLOAT16 * self.weights

    def cut_bytes(self, ranks: int, positions: float) -> float:
        """What a GPU sends under tensor parallelism: sums over ranks behind attention and MLP, forward and backward."""
        sums = 4 * self.layers + 1
        return sums * 2 * ring(ranks) * BFLOAT16 * self.width * positions

    def crossing(self, ranks: int) -> float:
        """Positions of a group and step from which on FSDP2 moves less."""
        return self.sharded_bytes(ranks) / self.cut_bytes(ranks, 1)


DECODERS = {
    "Gemma 2B": Decoder(18, 2048, 2.5e9),
    "Llama 3.1 8B": Decoder(32, 4096, 8.0e9),
    "Llama 3.1 70B": Decoder(80, 8192, 70.6e9),
}


def lost_share(interval: float, save: float, restart: float, between_failures: float) -> float:
    """Part of the time that is not training: saving, and after a failure half an interval and the restart."""
    return save / interval + (interval / 2 + restart) / between_failures


# 419 unexpected interruptions in 54 days on 16,384 GPUs ("The Llama 3 Herd of Models", section 3.3.4).
GPU_HOURS_PER_FAILURE = 54 * 24 * 16384 / 419
STORAGE_BYTES = 1e9
RESTART = 60 + 180


def tables() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "### Gigabytes out of each node per step, all its GPUs together\n"
    names = ("ddp", "ddp, everything", "vtb_hsdp", "vtb_fsdp2")
    for title, model in (("encoder trained", PAPER), ("encoder frozen", FROZEN_ENCODER)):
        yield f"{title}: {model.trained / 1e6:.0f} M of {model.all / 1e9:.1f} G elements are trained\n"
        rows = [[out_of_node(model, gpus // PER_NODE, name) / 1e9 for name in names] for gpus in GPUS]
        yield from _table(("GPUs", *names), GPUS, rows, "{:.2f}")
    yield "### Predicted efficiency under DDP, of the same work on one GPU\n"
    for positions in (1024, 8192):
        for title, model in (("encoder trained", PAPER), ("encoder frozen", FROZEN_ENCODER)):
            _, compute = step_seconds(model, Machine(), 1, positions)
            yield f"{positions} LLM positions a GPU and step, {title}: {1000 * compute:.0f} ms of arithmetic\n"
            rows = []
            for gpus in GPUS:
                steps = [
                    step_seconds(model, Machine(network_bytes=speed), gpus, positions) for speed in NETWORKS.values()
                ]
                rows.append([100 * compute / step for step, compute in steps])
            yield from _table(("GPUs", *NETWORKS), GPUS, rows, "{:.0f} %")
    yield "### Time lost to failures and saving\n"
    saved = {"slim": 12 * PAPER.trained, "full": 12 * PAPER.trained + BFLOAT16 * (PAPER.all - PAPER.trained)}
    sizes = ", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in saved.items())
    yield f"checkpoints of the paper's sizes with Adam's states: {sizes}\n"
    save = saved["slim"] / STORAGE_BYTES
    rows = []
    for gpus in GPUS:
        hours = GPU_HOURS_PER_FAILURE / gpus
        best = math.sqrt(2 * save * hours * 3600)
        shares = [100 * lost_share(minutes * 60, save, RESTART, hours * 3600) for minutes in (10, 30, 120)]
        rows.append([hours, best / 60, 100 * lost_share(best, save, RESTART, hours * 3600), *shares])
    header = (
        "GPUs",
        "hours between failures",
        "best interval, min",
        "lost, %",
        "every 10 min",
        "every 30 min",
        "every 2 h",
    )
    yield from _table(header, GPUS, rows, "{:.1f}")
    yield from _tensor_parallel()


def _tensor_parallel() -> Iterator[str]:
    yield "### Tensor parallel or FSDP2\n"
    yield "gigabytes a GPU moves in a step of 8 GPUs with a frozen LLM in bfloat16, and where the two are equal\n"
    rows = []
    for llm in DECODERS.values():
        moved = [llm.sharded_bytes(8), llm.cut_bytes(8, 8192), llm.cut_bytes(8, 65536)]
        rows.append([*(bytes_ / 1e9 for bytes_ in moved), llm.crossing(8) / 1000])
    header = ("LLM", "FSDP2", "cut, 8,192 positions", "cut, 65,536 positions", "equal at, thousand positions")
    yield from _table(header, list(DECODERS), rows, "{:.1f}")


def _table(header: Sequence[str], names: Sequence[object], rows: Sequence[Sequence[float]], form: str) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for name, row in zip(names, rows, strict=True):
        yield f"| {name} | " + " | ".join(form.format(value) for value in row) + " |"
    yield ""


if __name__ == "__main__":
    print("\n".join(tables()))
