"""A checkpoint as a model of lmms-eval (0.7.3): ``vtb lmms-eval CHECKPOINT --tasks ...``.

Importing this module registers it as ``--model vtb``.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.models import MODEL_REGISTRY_V2
from lmms_eval.models.registry_v2 import ModelManifest

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.decoder import Decoder
from nemo_vtb.inference.session.messages import read_messages
from nemo_vtb.inference.session.sampling import AnswerOptions
from nemo_vtb.paths import checkpoint_path

# What is held in memory at a time: recordings with their questions.
_AT_A_TIME = 64
# Of a task's generation_kwargs: those that are honoured, and values of others that ask for nothing.
_TOKENS = 256
_HONOURED = ("max_new_tokens", "until", "do_sample", "temperature", "top_p")
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "top_k": (None, 0),
    "repetition_penalty": (None, 1.0),
}


class VTBForLMMS(lmms):
    """Answers a task's questions as ``vtb chat`` does: the task's words, then its recordings.

    Args:
        pretrained: The checkpoint.
        device: As PyTorch names it.
        precision: See ``nemo_vtb.models.load.load_checkpoint``.
        batch_size: Answers side by side.
        **options: Of lmms-eval; ``max_batch_size`` alone.

    Raises:
        VTBError: On an unknown option, or a checkpoint that is none.
    """

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        precision: str = "32-true",
        batch_size: int | str = 1,
        **options: Any,
    ) -> None:
        import torch

        from nemo_vtb.models.load import load_checkpoint

        super().__init__()
        if unknown := sorted(set(options) - {"max_batch_size"}):
            raise VTBError(f"--model vtb knows no model_args {', '.join(unknown)}")
        if not torch.cuda.is_available() and device in (None, "cuda", "cuda:0"):
            device = "cpu"
        self._model = load_checkpoint(pretrained, device or "cuda", precision)
        self._decoder = Decoder(self._model, keep_megabytes=0, most_rows=int(batch_size))

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers in order.

        Raises:
            VTBError: If a task asks about pictures, or for what cannot be done.
        """
        said: list[str] = []
        for start in range(0, len(requests), _AT_A_TIME):
            answers = [self._asked(*request.args) for request in requests[start : start + _AT_A_TIME]]
            for _ in self._decoder.write(answers):
                pass
            for answer in answers:
                answer.check()
                said.append(answer.text)
        return said

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not supported.

        Raises:
            VTBError: Always.
        """
        raise VTBError("tasks of type loglikelihood are not for vtb lmms-eval: vtb lm-eval scores text")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not supported.

        Raises:
            VTBError: Always.
        """
        raise VTBError("tasks of several rounds are not for vtb lmms-eval: see vtb eval")

    def _asked(self, words: str, options: Mapping[str, Any], heard: Any, place: Any, task: str, split: str) -> Answer:
        clips = heard(self.task_dict[task][split][place]) or []
        parts = [{"type": "audio", "audio": _samples(clip, task)} for clip in clips]
        messages = [{"role": "user", "content": [{"type": "text", "text": words}, *parts]}]
        return Answer(read_messages(messages, self._model.sampling_rate), _how(options, task))


def _how(options: Mapping[str, Any], task: str) -> AnswerOptions:
    until = options.get("until") or ()
    sampled = {name: options[name] for name in ("temperature", "top_p") if options.get(name) is not None}
    if not options.get("do_sample"):
        sampled = {}
    for name, fine in _NOTHING.items():
        if options.get(name) not in fine:
            raise VTBError(f"task {task}: generation_kwargs.{name} is {options[name]!r}, which vtb cannot do")
    _tell_of(tuple(sorted(set(options) - {*_HONOURED, *_NOTHING})), task)
    return AnswerOptions(
        max_new_tokens=int(options.get("max_new_tokens") or _TOKENS),
        stop=[until] if isinstance(until, str) else list(until),
        **sampled,
    )


@cache
def _tell_of(names: tuple[str, ...], task: str) -> None:
    """Says once what of a task's generation_kwargs, many of which are about pictures, changes nothing here."""
    from nemo.utils import logging

    if names:
        logging.warning(f"nemo_vtb: task {task}: generation_kwargs {', '.join(names)} are not used")


def _samples(clip: Any, task: str) -> tuple[Any, int]:
    if isinstance(clip, Mapping) and "array" in clip:
        return clip["array"], int(clip["sampling_rate"])
    if hasattr(clip, "get_all_samples"):  # as ``datasets`` decodes
        decoded = clip.get_all_samples()
        return decoded.data.numpy(), int(decoded.sample_rate)
    raise VTBError(f"task {task} shows {type(clip).__name__}: this model hears and reads, it does not see")


def run_harness(checkpoint: str, arguments: Sequence[str]) -> None:
    """Runs lmms-eval's own command line on a checkpoint.

    Args:
        checkpoint: A file, or a folder of ``vtb export --to slim``.
        arguments: Of ``lmms-eval``, without ``--model`` and ``--model_args``.

    Raises:
        VTBError: See ``VTBForLMMS``.
    """
    from lmms_eval.cli.dispatch import main

    own = ["--model", "vtb", "--model_args", f"pretrained={checkpoint_path(checkpoint)}"]
    before, sys.argv = sys.argv, ["lmms-eval", *own, *arguments]
    try:
        main()
    finally:
        sys.argv = before


MODEL_REGISTRY_V2.register_manifest(
    ModelManifest("vtb", simple_class_path="nemo_vtb.evaluation.lmms_eval.VTBForLMMS"), overwrite=True
)
