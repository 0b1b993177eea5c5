"""Twenty clients at once, for a minute, of ``vtb serve`` and of ``vtb demo``: errors, memory, answers mixed up.

python examples/benchmarks/visitors.py --json examples/benchmarks/results/visitors.json
python examples/benchmarks/visitors.py --checkpoint runs/quickstart/last.ckpt --clients 4 --seconds 10 --json v.json

Both commands run as processes of their own. Each client holds a conversation of two turns about one of a few
recordings, again and again; what it hears is compared with what a session alone answers. Memory is what the process
holds at a quarter of the time, at half and at the end: it may fill its stores, and must not go on growing.
"""

import argparse
import base64
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nemo_vtb.paths import SHIPPED, corpora_dir

TURNS = ("Transcribe the audio.", "What did I say?")
KEPT_MEGABYTES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=SHIPPED)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tokens", type=int, default=12, help="most tokens of an answer")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    clips = sorted((corpora_dir() / "spoken_commands" / "audio").glob("*.ogg"))[:5]
    expected, long = alone(args.checkpoint, clips, args.tokens)
    report: dict[str, Any] = {"clients": args.clients, "seconds": args.seconds, "ten_minutes": long}
    for name, command, asks in (("server", "serve", ask_server), ("page", "demo", ask_page)):
        report[name] = visited(args, command, asks, clips, expected)
        print(name, json.dumps(report[name]), flush=True)
    report["environment"] = {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "load_average": os.getloadavg()[0],
        "command": f"python examples/benchmarks/visitors.py --json {args.json}",
    }
    args.json.write_text(json.dumps(report, indent=2) + "\n")


def alone(checkpoint: str, clips: list[Path], tokens: int) -> tuple[list[list[str]], dict[str, Any]]:
    """What a session answers to each clip, and what it makes of a clip of ten minutes."""
    import soundfile
    import torch

    from nemo_vtb import ChatSession
    from nemo_vtb.models.load import load_checkpoint

    torch.set_num_threads(1)
    model = load_checkpoint(checkpoint, precision="32-true")
    expected = []
    for clip in clips:
        session = ChatSession(model)
        heard = [{"type": "text", "text": TURNS[0]}, {"type": "audio", "audio": clip}]
        expected.append([session.say(said, max_new_tokens=tokens) for said in (heard, TURNS[1])])
    samples, rate = soundfile.read(clips[0], dtype="float32")
    session, began = ChatSession(model), time.process_time()
    long = (np.resize(samples, 600 * rate), rate)
    answer = session.say([{"type": "text", "text": TURNS[0]}, {"type": "audio", "audio": long}], max_new_tokens=8)
    return expected, {"answer": answer, "cpu_seconds": round(time.process_time() - began, 1)}


def visited(
    args: argparse.Namespace, command: str, asks: "Callable[..., Asks]", clips: list[Path], expected: list[list[str]]
) -> dict[str, Any]:
    """Lets clients talk to a command until time is up."""
    answers, errors, wrong, memory = 0, [], [], []
    count = threading.Lock()
    with started(args, command) as (url, pid):
        stop = time.monotonic() + args.seconds

        def talk(client: int) -> None:
            nonlocal answers
            number = client % len(clips)
            ask = asks(url, clips[number], args.tokens)
            while time.monotonic() < stop:
                try:
                    for said, right in zip(ask(), expected[number], strict=True):
                        with count:
                            answers += 1
                        if said != right:
                            wrong.append([number, said, right])
                except Exception as error:
                    errors.append(f"{type(error).__name__}: {error}"[:300])

        def watch() -> None:
            while time.monotonic() < stop:
                memory.append(megabytes(pid))
                time.sleep(1)

        threading.Thread(target=watch, daemon=True).start()
        with ThreadPoolExecutor(args.clients) as pool:
            list(pool.map(talk, range(args.clients)))
        memory.append(megabytes(pid))
    marks = {"quarter": len(memory) // 4, "half": len(memory) // 2, "end": -1}
    held = {name: memory[place] for name, place in marks.items()}
    return {"answers": answers, "errors": errors[:5], "wrong": wrong[:5], "megabytes": held}


@contextmanager
def started(args: argparse.Namespace, command: str) -> Iterator[tuple[str, int]]:
    """The command on a free port, once it answers."""
    import socket
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [command, args.checkpoint, f"--port={port}", "--precision=32-true", f"--keep-megabytes={KEPT_MEGABYTES}"]
    # A test's server may wait for a core; a client of this script does not give up before it is answered.
    words += [f"--most-waiting={4 * args.clients}", f"--max-tokens={args.tokens}"]
    process = subprocess.Popen([sys.executable, "-m", "nemo_vtb.cli", *words], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/health" if command == "serve" else url, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, f"vtb {command} did not start"
                time.sleep(0.5)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


# Holds a conversation and yields what was answered.
Asks = Callable[[], Iterator[str]]


def ask_server(url: str, clip: Path, tokens: int) -> Asks:
    """A client of the server: OpenAI's."""
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300)
    sound = {"data": base64.b64encode(clip.read_bytes()).decode(), "format": "ogg"}
    name = client.models.list().data[0].id

    def ask() -> Iterator[str]:
        messages: list[Any] = []
        for said in TURNS:
            heard = [] if messages else [{"type": "input_audio", "input_audio": sound}]
            messages.append({"role": "user", "content": [{"type": "text", "text": said}, *heard]})
            pieces = client.chat.completions.create(model=name, messages=messages, max_tokens=tokens, stream=True)
            answer = "".join(piece.choices[0].delta.content or "" for piece in pieces)
            messages.append({"role": "assistant", "content": answer})
            yield answer

    return ask


def ask_page(url: str, clip: Path, tokens: int) -> Asks:
    """A visitor of the page: what its box sends, with Gradio's own client."""
    from gradio_client import Client, handle_file

    def ask() -> Iterator[str]:
        # Each has a session of its own, which ends with it.
        page = Client(url, verbose=False)
        try:
            for number, said in enumerate(TURNS):
                message = {"text": said, "files": [] if number else [handle_file(str(clip))]}
                *_, (_, chat, *_) = page.submit(message, "", 1.0, False, 0.0, tokens, api_name="/_say")
                yield chat[-1]["content"][0]["text"]
        finally:
            page.close()

    return ask


def megabytes(pid: int) -> int:
    """Memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


if __name__ == "__main__":
    main()
