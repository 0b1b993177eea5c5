"""Realised shares of a blend, counted from the batches that trained."""

from collections import defaultdict
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nemo_vtb.data.conversations.size import size_of


class RealisedShares(Callback):
    """Counts conversations, clips and tokens per kind on this rank, and padding over all.

    Attributes:
        counts: ``{kind: {examples, audio_seconds, supervised_tokens, total_tokens}}``.
        padding: Sum of padding shares over steps.
        steps: Steps counted.
    """

    def __init__(self) -> None:
        self.counts: dict[str, defaultdict[str, float]] = {}
        self.padding = 0.0
        self.steps = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts one batch."""
        for kind, conversation, encoded in zip(batch["kinds"], batch["conversations"], batch["encoded"], strict=True):
            count = self.counts.setdefault(kind, defaultdict(float))
            count["examples"] += 1
            size = size_of(encoded, conversation, conversation.token_equivalent_duration)
            count["audio_seconds"] += size.audio_seconds
            count["supervised_tokens"] += size.supervised
            count["total_tokens"] += size.total
        self.padding += float(trainer.logged_metrics["padding_share"])
        self.steps += 1

    def shares(self, unit: str = "supervised_tokens") -> dict[str, float]:
        """Returns each kind's share of a unit."""
        total = sum(count[unit] for count in self.counts.values())
        return {kind: count[unit] / total for kind, count in sorted(self.counts.items())} if total else {}

    @property
    def padding_share(self) -> float:
        """Mean padding share per step."""
        return self.padding / max(1, self.steps)

    def state_dict(self) -> dict[str, Any]:
        """Travels with the checkpoint."""
        return {"counts": {k: dict(v) for k, v in self.counts.items()}, "padding": self.padding, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting after a resume."""
        self.counts = {kind: defaultdict(float, count) for kind, count in state_dict["counts"].items()}
        self.padding, self.steps = state_dict["padding"], state_dict["steps"]
