"""Worker processes for reading rows."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from nemo_vtb.errors import VTBError


@contextmanager
def worker_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Forked workers, which parsers and tokenizers of any kind reach without being pickled.

    They forget the handlers they inherit: Lightning's takes SIGTERM for a request to stop after the step, and a worker
    would then outlive it.

    Raises:
        VTBError: If a worker is killed; ``multiprocessing.Pool`` would wait for its rows forever.
    """
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(processes, context, initializer=_default_signals) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise VTBError("a process that read rows was killed; is there enough memory?") from error


def _default_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
