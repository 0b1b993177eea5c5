import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

KEY = "a key"


@pytest.fixture(scope="package")
def served(gated: Any) -> Iterator[SimpleNamespace]:
    """A server on a port of its own: ``url``, ``worker``, ``key``."""
    import uvicorn

    from nemo_vtb.inference.audio_input import Limits
    from nemo_vtb.inference.serving.app import Server
    from nemo_vtb.inference.serving.worker import Worker
    from nemo_vtb.inference.session.decoder import Decoder

    worker = Worker(Decoder(gated, keep_megabytes=8, most_rows=8), most_waiting=40)
    limits = Limits(megabytes=4, seconds=60)
    app = Server(worker, "tiny", {"max_new_tokens": 6}, 200, limits, KEY, "Transcribe the audio.").app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield SimpleNamespace(url=f"http://127.0.0.1:{port}", worker=worker, key=KEY)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()
