"""``vtb chat [CHECKPOINT]``."""

import argparse

from nemo_vtb.cli.talk.answering import add_answer_arguments, add_model_arguments, answer_options, load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb chat``."""
    add_model_arguments(parser)
    parser.add_argument("--system", help="system prompt")
    add_answer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Talks until ``/quit`` or the end of input."""
    options = answer_options(args)
    model = load_model(args)
    from nemo_vtb.cli.talk.console import Console
    from nemo_vtb.inference.chat import ChatSession

    Console(ChatSession(model, args.system), options).run()
    return 0
