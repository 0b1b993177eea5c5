"""``vtb demo [CHECKPOINT]``."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from nemo_vtb.cli.talk.answering import (
    add_answer_arguments,
    add_model_arguments,
    answer_options,
    load_model,
    model_name,
)
from nemo_vtb.cli.talk.serve import add_server_arguments, bound, limits_of
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import SHIPPED, checkpoint_path, corpora_dir

if TYPE_CHECKING:
    from nemo_vtb.inference.serving.page import Example


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb demo``."""
    add_model_arguments(parser)
    add_server_arguments(parser, 7860)
    add_answer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Shows the page until it is told to stop."""
    options = answer_options(args)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        from nemo_vtb.inference.serving.page import Page, limits_of_card
    except ModuleNotFoundError as error:
        raise VTBError(f"vtb demo needs {error.name}: pip install 'nemo-vtb[demo]'") from error
    from nemo_vtb.inference.serving.page_talk import Talker
    from nemo_vtb.inference.serving.worker import Worker
    from nemo_vtb.inference.session.decoder import Decoder
    from nemo_vtb.modules.lora.untouched import not_linear

    # Gradio takes no socket; a port that is taken is said before the model is loaded all the same.
    bound(args.host, args.port).close()
    decoder = Decoder(load_model(args), args.keep_megabytes, args.most_rows)
    worker = Worker(decoder, args.most_waiting)
    path = checkpoint_path(args.checkpoint)
    scales = not_linear(decoder.model.llm) is None
    page = Page(
        Talker(worker, limits_of(args)),
        model_name(args.checkpoint),
        limits_of_card(path),
        _examples(args.checkpoint),
        options,
        scales,
    )
    print(f"http://{args.host}:{args.port}", file=sys.stderr, flush=True)
    try:
        page.launch(args.host, args.port, args.most_megabytes, args.most_waiting)
    finally:
        worker.close()
    return 0


def _examples(checkpoint: str) -> list["Example"]:
    """What can be tried; of the shipped checkpoint, recordings it was not trained on; where it often errs is said."""
    from nemo_vtb.inference.serving.page import Example

    written = [Example("Written question", "What is the capital of France?")]
    corpora = corpora_dir()
    if str(checkpoint) != SHIPPED or corpora is None:
        return written
    clips = {
        "Command": corpora / "spoken_commands" / "audio" / "0004_bm_george.ogg",
        "Person on the telephone": corpora / "asterisk_prompts" / "audio" / "en" / "agent-pass.ogg",
        "Any sentence (it often errs here)": corpora / "open_sentences" / "audio" / "15850_kokoro_bf_emma.ogg",
    }
    return [*(Example(name, "Transcribe the audio.", [str(clip)]) for name, clip in clips.items()), *written]
