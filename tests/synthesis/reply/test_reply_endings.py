"""What servers call the end of an answer, and a run from which nothing was kept."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from nemo_vtb.cli import main
from nemo_vtb.whole_files import read_rows


class Answers(BaseHTTPRequestHandler):
    """A server whose answers end in ``reason``."""

    reason = "stop"

    def do_GET(self) -> None:
        self._send({"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nIt is Paris."}
        self._send({"choices": [{"message": message, "finish_reason": self.reason}]})

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def made(tmp_path: Path, clip: Any) -> Iterator[Any]:
    """Runs ``vtb synth reply`` on one recording, with a server whose answers end as is said."""
    row = {"id": "c", "audio_filepath": str(clip.path), "duration": clip.duration, "text": "What is it?", "lang": "en"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(reason: str) -> tuple[int, Path]:
        Answers.reason = reason
        source = [f"source.manifest_filepath={tmp_path / 'manifest.jsonl'}", "recording.seconds=[0.1,30]"]
        llm = ["llm.model=m", f"llm.base_url=http://127.0.0.1:{server.server_port}/v1"]
        return main(["synth", "reply", f"out={tmp_path / reason}", *source, *llm]), tmp_path / reason

    yield run
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("reason", ["stop", "eos_token"])
def test_an_answer_that_came_to_its_end_is_kept_without_its_thoughts(made: Any, reason: str):
    code, out = made(reason)
    (row,) = read_rows(out / "conversations.jsonl")
    assert code == 0 and row["conversations"][-1]["value"] == "It is Paris."


def test_a_run_from_which_nothing_was_kept_says_so(made: Any, capsys: pytest.CaptureFixture):
    code, out = made("length")
    assert code == 0 and not read_rows(out / "conversations.jsonl")
    assert "note: nothing was kept; most was dropped as reply.truncated (1)" in capsys.readouterr().err
