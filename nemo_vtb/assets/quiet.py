"""Keeps transformers and what it loads from printing over our own progress."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Inside, only errors are logged and no bar is shown; afterwards all is as it was.

    Enter it before the first import of transformers' model classes: they log while they load.
    """
    from transformers import modeling_gguf_pytorch_utils as gguf_loader
    from transformers.utils import logging as transformers_logging

    disabled, bars = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    gguf_bar = gguf_loader.tqdm
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()
    # This bar is tqdm's own, so transformers' switch does not reach it.
    gguf_loader.tqdm = _no_bar
    try:
        yield
    finally:
        gguf_loader.tqdm = gguf_bar
        logging.disable(disabled)
        if bars:
            transformers_logging.enable_progress_bar()


def _no_bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    return items
