"""The retention gate in training: text is measured beside speech, and a run that forgets too much is stopped."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from nemo_vtb.errors import VTBError
from nemo_vtb.models.options import RetentionOptions, retention_options
from nemo_vtb.parts.machine.precision import half_arithmetic
from nemo_vtb.parts.ranks import data_rank, world_size

if TYPE_CHECKING:
    from nemo_vtb.evaluation.retention.gate import GateResult
    from nemo_vtb.evaluation.retention.text import RetainedText

_REMEDY = (
    "keep more text (model.text_lora=audio_gated, model.text_kl, a larger share of kind text), learn slower "
    "(model.optimizer.lr), or raise model.retention.max_text_drop"
)


class RetentionGate(Callback):
    """Logs, at each validation, ``val_text_score``, ``val_text_drop`` and ``val_text_kl``; enforces the limit.

    The score is the mean over the suites, the drop that of the suite that lost most, both fractions. All ranks ask
    their share. Where LoRA keeps out of text, or the LLM is frozen, nothing can be lost: nothing is asked, the drop and
    the divergence are logged as 0. What was lost is listed in ``retention/step_<step>.jsonl`` in the run's folder.

    A run that resumes is measured at its start, so that one which was stopped stops again.

    Args:
        options: See ``RetentionOptions``.
    """

    def __init__(self, options: RetentionOptions) -> None:
        self.options = options
        self._text: RetainedText | None = None
        self._nothing_to_lose = False
        self._validations = self._past = 0
        self._verdict: GateResult | None = None
        self._measured_step = -1

    @classmethod
    def wanted(cls, model: Any) -> "RetentionGate | None":
        """Returns the gate where the config has ``model.retention``; see ``registry.run_callbacks``."""
        section = model.cfg.get("retention")
        return None if section is None else cls(retention_options(section))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reads the suites, before anything is trained.

        Raises:
            VTBError: If a suite cannot be read, or training changes the LLM in a way that leaves no untouched one.
        """
        from nemo_vtb.evaluation.retention.text import RetainedText

        if self._text is None:
            self._nothing_to_lose = _text_cannot_change(pl_module)
            self._text = RetainedText(pl_module, self.options.text, data_rank(), world_size())
            if self._nothing_to_lose:
                rank_zero_info("nemo_vtb: text is answered by the untouched LLM, so the retention gate asks nothing")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks whether there will be a validation, and at the text of a run that resumes.

        Raises:
            VTBError: If there will be none, or too much is lost already.
        """
        loaded = trainer.val_dataloaders is not None
        if not trainer.enable_validation or (loaded and not sum(trainer.num_val_batches)):
            raise VTBError("model.retention measures at validations, and there are none: set data.validation_ds")
        if trainer.global_step and not self._nothing_to_lose:
            self._measure(trainer, pl_module)
            self._enforce(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures; a validation that a signal cuts short is not held up afterwards."""
        if trainer.sanity_checking:
            return
        self._validations += 1
        if (self._validations - 1) % self.options.every:
            return
        if self._nothing_to_lose:
            pl_module.log_dict({"val_text_drop": 0.0, "val_text_kl": 0.0}, batch_size=1)
        else:
            pl_module.log_dict(self._measure(trainer, pl_module), batch_size=1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enforces the limit, once the other callbacks have seen the numbers.

        Raises:
            VTBError: Past the limit, on every rank.
        """
        self._enforce(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says which steps nobody has judged."""
        if self._measured_step < trainer.global_step and not self._nothing_to_lose:
            rank_zero_warn(
                f"nemo_vtb: the retention gate last measured at step {self._measured_step} of {trainer.global_step}; "
                "`vtb eval --gate` judges the last checkpoint"
            )

    def state_dict(self) -> dict[str, Any]:
        """Travels with the checkpoint."""
        return {"validations": self._validations, "past": self._past}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting after a resume."""
        self._validations, self._past = state_dict["validations"], state_dict["past"]

    def _measure(self, trainer: Trainer, pl_module: Any) -> dict[str, float]:
        from nemo_vtb.evaluation.retention.gate import check

        assert self._text is not None
        self._measured_step = trainer.global_step
        with trainer.precision_plugin.val_step_context(), half_arithmetic(pl_module.device.type, pl_module._half):
            found = self._text.measure()
        self._verdict = check(found.suites, self.options.max_text_drop)
        logged = {"val_text_score": found.score, "val_text_drop": self._verdict.drop}
        return logged if found.kl is None else {**logged, "val_text_kl": found.kl}

    def _enforce(self, trainer: Trainer) -> None:
        verdict, self._verdict = self._verdict, None
        if verdict is None:
            return
        written = _write_lost(trainer, verdict)
        self._past = 0 if verdict.passed else self._past + 1
        if verdict.passed:
            return
        told = f"{verdict.message}, at step {trainer.global_step}; {written}; {_REMEDY}"
        if self.options.past_limit == "warn" or self._past < self.options.patience:
            rank_zero_warn(f"nemo_vtb: {told}")
        else:
            raise VTBError(f"training stopped: {told}")


def _text_cannot_change(model: Any) -> bool:
    """Whether training leaves every answer to written prompts as it was.

    Raises:
        VTBError: If more of the LLM is trained than LoRA, which is all that can be switched off.
    """
    trained = [name for name in model.trainable_names if name.startswith(("llm.", "embed_tokens."))]
    if other := [name for name in trained if ".lora_" not in name]:
        raise VTBError(
            f"model.retention compares with the LLM without LoRA, but {other[0]} is trained too: freeze the LLM "
            "(model.freeze_params) and choose LoRA, e.g. lora=r32"
        )
    return not trained or model.gated


def _write_lost(trainer: Trainer, verdict: "GateResult") -> str:
    """Writes what was lost and says where; a sentence in place of a file where nothing was."""
    lost = [{"suite": name, **row} for name, suite in verdict.suites.items() for row in suite["lost"]]
    if not lost:
        return "no single reply was lost"
    path = Path(trainer.default_root_dir) / "retention" / f"step_{trainer.global_step:06d}.jsonl"
    if trainer.is_global_zero:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lost), encoding="utf-8")
    return f"the {len(lost)} replies that were lost: {path}"
