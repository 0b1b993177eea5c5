"""``vtb chat [CHECKPOINT]``."""

import argparse
import io
import sys

from nemo_vtb.cli.arguments import whole
from nemo_vtb.cli.talk.answering import add_answer_arguments, add_model_arguments, answer_options, load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb chat``."""
    add_model_arguments(parser)
    parser.add_argument("--system", help="system prompt")
    parser.add_argument(
        "--tensor-parallel",
        type=whole(1),
        metavar="RANKS",
        help="cut the LLM over the ranks that torchrun starts, on megatron-core; the first one talks",
    )
    add_answer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Talks until ``/quit`` or the end of input."""
    options = answer_options(args)
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A byte that is no text is a message's fault, and not the end of the conversation.
        sys.stdin.reconfigure(errors="surrogateescape")
    model = load_model(args, args.tensor_parallel, "--tensor-parallel {}")
    from nemo_vtb.cli.talk.console import Console
    from nemo_vtb.inference.chat import ChatSession
    from nemo_vtb.inference.over_ranks import SharedDecoder
    from nemo_vtb.parts.ranks import is_first

    decoder = SharedDecoder(model) if args.tensor_parallel else None
    if decoder is not None and not is_first():
        decoder.follow()
        return 0
    Console(ChatSession(model, args.system, decoder), options).run()
    if decoder is not None:
        decoder.dismiss()
    return 0
