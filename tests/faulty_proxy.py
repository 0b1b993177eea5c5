"""A real HTTP proxy that does wrong on demand, in front of a real server."""

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType

import httpx

# Does something wrong with a request that has been read; returns whether to go on and pass it to the server.
Fault = Callable[[BaseHTTPRequestHandler], bool]


def status(code: int, message: str = "not now", **headers: str) -> Fault:
    def fault(handler: BaseHTTPRequestHandler) -> bool:
        body = f'{{"error": {{"message": "{message}"}}}}'.encode()
        _answer(handler, code, body, headers)
        return False

    return fault


def garbage(body: bytes = b'{"choices": [{"mess') -> Fault:
    def fault(handler: BaseHTTPRequestHandler) -> bool:
        _answer(handler, 200, body, {})
        return False

    return fault


def reply(content: str) -> Fault:
    """What a server says whose model pays no heed to the schema."""
    import json

    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return garbage(json.dumps({"choices": [choice], "usage": {"completion_tokens": 1}}).encode())


def slow(seconds: float) -> Fault:
    def fault(handler: BaseHTTPRequestHandler) -> bool:
        time.sleep(seconds)
        return True

    return fault


def cut(handler: BaseHTTPRequestHandler) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True
    return False


class FaultyProxy:
    """Passes requests on, after the faults that wait in ``faults``, one for each POST."""

    def __init__(self, target: str) -> None:
        self.faults: list[Fault] = []
        self.posts = 0
        self._lock = Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy._pass_on(self, b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with proxy._lock:
                    proxy.posts += 1
                    fault = proxy.faults.pop(0) if proxy.faults else None
                if fault is None or fault(self):
                    proxy._pass_on(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._client = httpx.Client(base_url=target.removesuffix("/v1"), timeout=60)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "FaultyProxy":
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def _pass_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        try:
            answer = self._client.request(handler.command, handler.path, content=body)
        except httpx.HTTPError as error:
            _answer(handler, 502, str(error).encode(), {})
        else:
            _answer(handler, answer.status_code, answer.content, {})


def _answer(handler: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str]) -> None:
    try:
        handler.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
    except OSError:
        handler.close_connection = True  # the caller has given up
