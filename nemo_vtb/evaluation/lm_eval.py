"""A checkpoint's LLM as a model of EleutherAI's lm-eval: ``vtb lm-eval CHECKPOINT --tasks ...``.

Importing this module registers it as ``--model vtb``; lm-eval (0.4.13) looks for no plugins itself.
"""

import inspect
import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line
from nemo_vtb.modules.llm.parts import return_table
from nemo_vtb.modules.lora.merged import merged_lora
from nemo_vtb.modules.lora_gate import LoraGate
from nemo_vtb.parts.prompts.turn_mask import encode_turns, own_template, stop_ids, without_tag
from nemo_vtb.paths import checkpoint_path

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

LORA_MODES = ("auto", "on", "gated", "off")
_OWN = ("pretrained", "tokenizer", "backend", "device", "dtype")
_HARNESS_OPTIONS = {
    name
    for name, parameter in inspect.signature(HFLM.__init__).parameters.items()
    if name not in ("self", *_OWN) and parameter.kind is not parameter.VAR_KEYWORD
}


@register_model("vtb")
class VTBLM(HFLM):
    """The LLM of a checkpoint, with LoRA as trained, on, gated or off; where it is on, it is merged if it can be.

    Scores, rolling scores and generation are lm-eval's own for Hugging Face models. The chat template is the prompt
    format the checkpoint was trained in, which may differ from the one in the LLM's tokenizer.

    Args:
        pretrained: The checkpoint, a file or a folder of ``vtb export --to slim``.
        lora: See ``language_model``.
        lora_scale: How much of LoRA acts where it is on: 1 as trained.
        device: As PyTorch names it; a GPU where there is one.
        dtype: Of the weights and the arithmetic.
        **options: ``HFLM``'s own that concern a loaded model, e.g. ``batch_size`` and ``max_length``.

    Raises:
        VTBError: On an unknown option, a checkpoint that is none, or a LoRA mode it does not have.
    """

    def __init__(
        self,
        pretrained: str,
        lora: str = "auto",
        lora_scale: float = 1.0,
        device: str | None = None,
        dtype: str = "float32",
        **options: Any,
    ) -> None:
        from transformers import AutoTokenizer

        from nemo_vtb.models.load import load_checkpoint

        if unknown := sorted(set(options) - _HARNESS_OPTIONS):
            raise VTBError(f"--model vtb knows no model_args {', '.join(unknown)}")
        if dtype not in ("float32", "bfloat16", "float16"):
            raise VTBError(f"dtype is {dtype!r}; it may be float32, bfloat16, float16")
        model = load_checkpoint(pretrained, _present(device))
        model.backbone.lora_scale = lora_scale
        self._formatter = model.formatter
        self._audio_tag = model.audio_locator_tag
        llm = language_model(model, lora).to(getattr(torch, dtype))
        # The model's own tokenizer has the audio placeholder, for which the LLM has no embedding.
        tokenizer = AutoTokenizer.from_pretrained(
            model.cfg.get("tokenizer_path") or model.cfg.pretrained_llm,
            trust_remote_code=model.cfg.get("trust_remote_code", False),
        )
        llm.generation_config.eos_token_id = stop_ids(model.formatter)
        self._merged = ExitStack()
        self._merged.enter_context(merged_lora(llm.eval()))
        super().__init__(pretrained=llm, tokenizer=tokenizer, backend="causal", **options)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Names the checkpoint's prompt format, or gives the template; lm-eval keeps it with the results.

        Raises:
            VTBError: If another template is asked for.
        """
        if isinstance(chat_template, str):
            raise VTBError(
                f"--apply_chat_template {chat_template}: a checkpoint is asked in the format it was trained in, "
                f"'{self._formatter.NAME}'; leave the name out"
            )
        own = own_template(self._formatter)
        return (self._formatter.NAME if own is None else own.source) if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Writes turns in the checkpoint's prompt format.

        Args:
            chat_history: Turns of ``role`` and ``content``; a placeholder for audio in them is taken apart.
            add_generation_prompt: Ends with the header of the next answer; else the last turn is an answer begun.

        Raises:
            VTBError: If the format has no such role, or an answer begun is not the assistant's.
        """
        turns = [(turn["role"], without_tag(turn["content"], self._audio_tag)) for turn in chat_history]
        begun = ""
        if not add_generation_prompt:
            role, begun = turns.pop()
            if role != "assistant":
                raise VTBError(f"a chat without a generation prompt ends with an answer begun, not a turn of '{role}'")
        if (own := own_template(self._formatter)) is not None:
            return own.text(turns, for_generation=True) + begun
        ids = encode_turns(turns, self._formatter, for_generation=True).input_ids.tolist()
        return self._formatter.tokenizer.ids_to_text(ids, remove_special_tokens=False) + begun


def _present(device: str | None) -> str:
    # lm-eval asks for its default on machines without a GPU too.
    if device in (None, "cuda:0") and not torch.cuda.is_available():
        return "cpu"
    return device or "cuda"


def language_model(model: "VoiceTextBlender", lora: str) -> "PreTrainedModel":
    """Takes the Hugging Face LLM, complete with its embeddings, out of a model, which is of no use afterwards.

    Args:
        model: Any.
        lora: ``auto``: as the checkpoint answers text, that is off where ``text_lora`` is ``audio_gated``, else on.
            ``on``. ``gated``: as in a conversation without audio, where LoRA adds nothing. ``off``: the untouched LLM.

    Raises:
        VTBError: If the mode is unknown, or the model has no LoRA to switch on or gate.
    """
    if lora not in LORA_MODES:
        raise VTBError(f"lora is {lora!r}; it may be {', '.join(LORA_MODES)}")
    has_lora = hasattr(model.llm, "peft_config")
    if lora in ("on", "gated") and not has_lora:
        raise VTBError(f"lora={lora}, but the checkpoint has no LoRA; say lora=auto or off")
    if lora == "auto" and model.gated:
        lora = "gated"
    if lora == "gated":
        LoraGate().install(model.llm)  # refuses LoRA that cannot be gated
    if lora in ("gated", "off") and has_lora:
        model.backbone.lora_scale = 0
    llm = model.backbone.causal_lm
    return_table(llm, model.embed_tokens)
    return llm


def run_harness(checkpoint: str, lora: str, lora_scale: float, arguments: Sequence[str]) -> None:
    """Runs lm-eval's own command line on a checkpoint.

    Args:
        checkpoint: See ``VTBLM``.
        lora: Likewise.
        lora_scale: Likewise.
        arguments: Of ``lm_eval run``, without ``--model``; further ``--model_args`` are added to ours.

    Raises:
        VTBError: See ``VTBLM``.
    """
    from lm_eval.__main__ import cli_evaluate

    path = checkpoint_path(checkpoint)
    if not path.exists():
        raise VTBError(f"no checkpoint at {path}")
    # As JSON: written as key=value, a path with a comma in it would be two arguments.
    given = json.dumps({"pretrained": str(path), "lora": lora, "lora_scale": lora_scale})
    own = ["--model", "vtb", "--model_args", given]
    before, sys.argv = sys.argv, ["lm_eval", "run", *own, *arguments]
    try:
        cli_evaluate()
    except ValueError as error:
        # What the harness refuses itself is of its arguments; elsewhere it is a fault.
        if "lm_eval" not in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts:
            raise
        raise VTBError(f"lm-eval: {first_line(error)}") from error
    finally:
        sys.argv = before
