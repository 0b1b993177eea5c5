"""Replies of LLMs that think aloud."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from nemo_vtb.inference.llms.choose import open_llm
from nemo_vtb.inference.llms.interface import Sampling, without_thoughts


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("<think>\nHm.\n</think>\n\nParis.", "Paris."),
        ("<think>\n\n</think>\n\nParis.", "Paris."),
        ("Hm, the capital.\n</think>\n\nParis.", "Paris."),
        ("Paris.", "Paris."),
        ("Write <think> and </think> around it.", "Write <think> and </think> around it."),
        ("<think>\nHm, and then", "<think>\nHm, and then"),
    ],
)
def test_what_is_said_stands_behind_the_thoughts(reply, said):
    assert without_thoughts(reply) == said


class Thinker(BaseHTTPRequestHandler):
    """A server whose model thinks."""

    def do_GET(self):
        self._send({"data": [{"id": "thinker"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": "<think>\nLet me see.\n</think>\n\nIt is Paris."}
        self._send({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 9}})

    def log_message(self, *_):
        pass

    def _send(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_a_server_that_leaves_thoughts_in_its_replies_gives_answers():
    server = HTTPServer(("127.0.0.1", 0), Thinker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        llm = open_llm({"model": "thinker", "base_url": f"http://127.0.0.1:{server.server_port}/v1"})
        (reply,) = llm.chat([[{"role": "user", "content": "What is the capital of France?"}]], [Sampling(64)])
    finally:
        server.shutdown()
        server.server_close()
    assert reply.text == "It is Paris." and reply.finished
