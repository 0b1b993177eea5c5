"""Realised shares of a blend, counted from the batches that trained."""

from collections import Counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class RealisedShares(Callback):
    """Counts conversations, clips and tokens per kind on this rank, and padding over all.

    Attributes:
        counts: ``{kind: {examples, audio_seconds, supervised_tokens, tokens}}``.
        padding: Sum of padding shares over steps.
        steps: Steps counted.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.padding = 0.0
        self.steps = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts one batch."""
        for kind, conversation, encoded in zip(batch["kinds"], batch["conversations"], batch["encoded"], strict=True):
            count = self.counts.setdefault(kind, Counter())
            count["examples"] += 1
            count["audio_seconds"] += sum(cut.duration for cut in conversation.list_cuts())
            count["supervised_tokens"] += int(encoded.loss_mask.sum())
            count["tokens"] += len(encoded.input_ids)
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
        self.counts = {kind: Counter(count) for kind, count in state_dict["counts"].items()}
        self.padding, self.steps = state_dict["padding"], state_dict["steps"]
