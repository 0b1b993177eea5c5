"""``vtb serve [CHECKPOINT]``."""

import argparse
import errno
import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from nemo_vtb.cli.arguments import factor, whole
from nemo_vtb.cli.talk.answering import (
    add_answer_arguments,
    add_model_arguments,
    answer_options,
    load_model,
    model_name,
)
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


def bound(host: str, port: int) -> socket.socket:
    """A socket at the address, taken before a model is loaded for it.

    Args:
        host: A name or a number.
        port: Not 0.

    Raises:
        VTBError: Names the option that has to be another.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise VTBError(f"--host {host} is no address of this machine: 127.0.0.1 is this machine alone") from error
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A server that was just stopped leaves its port behind for a minute.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        # Bound alone, the port could still be had by another; who asks now is answered when the model is there.
        taken.listen()
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise VTBError(f"--port {port} is taken: name another one") from error
        if error.errno == errno.EACCES:
            raise VTBError(f"--port {port} is not for this user: name one of at least 1024") from error
        raise VTBError(f"--host {host} is no address of this machine: {error.strerror}") from error
    return taken


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

    with bound(args.host, args.port) as taken:
        decoder = Decoder(load_model(args), args.keep_megabytes, args.most_rows)
        name = args.name or model_name(args.checkpoint)
        worker = Worker(decoder, args.most_waiting)
        limits = limits_of(args)
        server = Server(worker, name, options, args.max_tokens, limits, key, args.transcribe, args.piece_seconds)
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"{name}: http://{host}:{args.port}/v1", file=sys.stderr, flush=True)
        config = uvicorn.Config(server.app(), log_level="warning", timeout_graceful_shutdown=10)
        # Told to stop, it has stopped by then.
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[taken])
    return 0
