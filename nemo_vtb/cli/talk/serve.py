"""``vtb serve [CHECKPOINT]``."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nemo_vtb.cli.arguments import factor, whole
from nemo_vtb.cli.talk.answering import add_answer_arguments, add_model_arguments, answer_options, load_model
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo_vtb.inference.audio_input import Limits

_KEY_VARIABLE = "VTB_API_KEY"
_HERE = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb serve``."""
    add_model_arguments(parser)
    add_server_arguments(parser, 8000)
    parser.add_argument("--name", help="of the model, for clients (default: the checkpoint's)")
    parser.add_argument("--api-key", help=f"that clients must send (default: ${_KEY_VARIABLE}, if set)")
    parser.add_argument("--transcribe", default="Transcribe the audio.", help="the words of /v1/audio/transcriptions")
    parser.add_argument(
        "--piece-seconds", type=whole(1), default=30, help="of what is transcribed at once; longer recordings are cut"
    )
    add_answer_arguments(parser)


def add_server_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    """Adds where a server listens, and what it takes."""
    group = parser.add_argument_group("server")
    group.add_argument("--host", default="127.0.0.1", help="127.0.0.1, the default, is this machine alone")
    group.add_argument("--port", type=whole(1, 65535), default=port, help=f"(default: {port})")
    group.add_argument("--most-rows", type=whole(1, 1024), default=16, help="answers side by side")
    group.add_argument("--most-waiting", type=whole(1), default=64, help="questions in line; more are told to wait")
    group.add_argument("--keep-megabytes", type=factor, default=1024.0, help="of keys and values, for the next turns")
    group.add_argument("--most-megabytes", type=factor, default=32.0, help="of an uploaded recording")
    group.add_argument("--most-seconds", type=factor, default=600.0, help="of a recording")


def limits_of(args: argparse.Namespace) -> "Limits":
    """What a recording may be."""
    from nemo_vtb.inference.audio_input import Limits

    return Limits(args.most_megabytes, args.most_seconds)


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop."""
    options = answer_options(args)
    key = args.api_key or os.environ.get(_KEY_VARIABLE) or None
    if args.host not in _HERE and key is None:
        raise VTBError(f"--host {args.host} lets other machines in: set --api-key, or {_KEY_VARIABLE}")
    try:
        import python_multipart  # noqa: F401
        import uvicorn

        from nemo_vtb.inference.serving.app import Server
    except ModuleNotFoundError as error:
        raise VTBError(f"vtb serve needs {error.name}: pip install 'nemo-vtb[serve]'") from error
    from nemo_vtb.inference.serving.worker import Worker
    from nemo_vtb.inference.session.decoder import Decoder

    decoder = Decoder(load_model(args), args.keep_megabytes, args.most_rows)
    name = args.name or Path(args.checkpoint).stem
    worker = Worker(decoder, args.most_waiting)
    server = Server(worker, name, options, args.max_tokens, limits_of(args), key, args.transcribe, args.piece_seconds)
    print(f"{name}: http://{args.host}:{args.port}/v1", file=sys.stderr, flush=True)
    uvicorn.run(server.app(), host=args.host, port=args.port, log_level="warning", timeout_graceful_shutdown=10)
    return 0
