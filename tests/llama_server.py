"""A real llama.cpp server in a process of its own, which tests may kill and start again on the same port."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx

MODEL = "smollm2-135m-instruct-gguf"
_SCRIPT = Path(__file__).parents[1] / "examples" / "llama_server.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LlamaServer:
    """SmolLM2 behind OpenAI's protocol; one request at a time, so that greedy replies repeat to the letter."""

    def __init__(self, context: int = 2048) -> None:
        self.port, self._context = free_port(), context
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "LlamaServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        command = [sys.executable, str(_SCRIPT), MODEL, "--port", str(self.port), "--parallel", "1", "--no-cache"]
        self._process = subprocess.Popen([*command, "--context", str(self._context)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/models", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise RuntimeError("llama.cpp's server did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
