"""What the commands share that answer with a checkpoint: how it is loaded, and how it answers."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.cli.arguments import factor, whole
from nemo_vtb.paths import CHECKPOINT_HELP, SHIPPED, existing_checkpoint

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the checkpoint, and what it is loaded with."""
    parser.add_argument("checkpoint", nargs="?", default=SHIPPED, help=f"{CHECKPOINT_HELP} (the default)")
    parser.add_argument("--device", default="cpu", help="of the model: cpu or cuda")
    parser.add_argument(
        "--precision", default="auto", choices=["auto", "32-true", "bf16-mixed"], help="auto: the device's fastest"
    )
    parser.add_argument("--threads", default="auto", help="of the processor: a number, or auto")
    parser.add_argument("--lora-scale", type=factor, default=1.0, help="how much of LoRA acts; 0: the untouched LLM")


def add_answer_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds how answers are written."""
    group = parser.add_argument_group("answers")
    group.add_argument("--max-tokens", type=whole(1), default=256, help="most tokens of an answer (default: 256)")
    group.add_argument("--temperature", type=factor, default=0.0, help="0: the most likely token each time (default)")
    group.add_argument("--top-p", type=factor, default=1.0, help="draw from the tokens that have this probability")
    group.add_argument("--top-k", type=whole(0), default=0, help="draw from so many tokens; 0: all")
    group.add_argument("--seed", type=whole(0), help="makes drawing repeatable")
    group.add_argument("--stop", action="append", metavar="TEXT", help="ends answers; several times for several")


def answer_options(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of ``AnswerOptions`` that a command line says.

    Raises:
        VTBError: If one of them cannot be.
    """
    from nemo_vtb.inference.session.sampling import AnswerOptions

    options = {name: getattr(args, name) for name in ("temperature", "top_p", "top_k", "seed")}
    options |= {"max_new_tokens": args.max_tokens, "stop": args.stop or ()}
    AnswerOptions(**options)
    return options


def model_name(checkpoint: str) -> str:
    """What a checkpoint is called: a folder as it is, dots and all, a file without its ending."""
    # Not resolved: a link has a name of its own.
    path = Path(os.path.abspath(checkpoint))
    return path.name if path.is_dir() else path.stem


def load_model(args: argparse.Namespace, tensor_parallel: int | None = None, option: str = "") -> "VoiceTextBlender":
    """Loads the checkpoint, with the machine's settings printed and the libraries' notes left out.

    Args:
        args: Of ``add_model_arguments``.
        tensor_parallel: See ``load_checkpoint``.
        option: See ``check_started``.

    Raises:
        VTBError: If there is no such checkpoint or device, or too many processes.
    """
    existing_checkpoint(args.checkpoint)
    _hush()
    from nemo.utils import logging
    from transformers.utils.logging import disable_progress_bar

    from nemo_vtb.models.for_machine import use_for_answers
    from nemo_vtb.models.load import load_checkpoint
    from nemo_vtb.options import number_or_word
    from nemo_vtb.parts.ranks import check_started

    check_started(tensor_parallel, option)
    used = use_for_answers(args.precision, args.device, number_or_word(args.threads))
    # What is registered with NeMo, and what was said of the prompt format when the checkpoint was trained.
    logging.setLevel(logging.ERROR)
    disable_progress_bar()
    model = load_checkpoint(args.checkpoint, args.device, used["precision"].value, tensor_parallel=tensor_parallel)
    model.backbone.lora_scale = args.lora_scale
    return model


def _hush() -> None:
    """Keeps the notes of libraries out of the conversation, before they are imported."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    for name in ("torchao", "nv_one_logger", "torch.utils._pytree", "transformers", "nemo_logger"):
        logging.getLogger(name).setLevel(logging.ERROR)
