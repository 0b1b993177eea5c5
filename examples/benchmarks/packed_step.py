"""What a packed training step costs beside an earlier commit, for a family that is packed as before.

python examples/benchmarks/packed_step.py --json examples/benchmarks/results/packed_step.json

Both commits run in processes of their own, a few steps in turn, and their CPU seconds are compared pair by pair: what
else the machine does hits both. The tiny LLM, the batch and the seed are the same. What the checks at build cost is
measured there too, and on SmolLM2 with its real weights.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EARLIER = "e8005b4"
_SIZES = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4}
_CONVERSATIONS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--against", default=EARLIER, help="a commit")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="of each in a pair")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(*map(Path, asked.worker))
        return
    report = compared(asked.against, asked.pairs, asked.steps)
    report["command"] = f"python examples/benchmarks/packed_step.py --json {asked.json}"
    text = json.dumps(report, indent=1) + "\n"
    if asked.json:
        asked.json.write_text(text)
    print(text)


def compared(against: str, pairs: int, steps: int) -> dict[str, Any]:
    """Runs both commits in turn."""
    from support.tiny import llm_folder, whisper_folder

    with tempfile.TemporaryDirectory(prefix="packed_step_") as name:
        folder = Path(name)
        earlier = folder / "earlier"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", earlier, against], cwd=ROOT, check=True)
        try:
            llm = llm_folder(folder / "llm", "llama", _SIZES)
            encoder = whisper_folder(folder / "encoder")
            workers = {"earlier": started(earlier, llm, encoder), "now": started(ROOT, llm, encoder)}
            checks = {name: asked(worker, "checks") for name, worker in workers.items()}["now"]
            for worker in workers.values():
                asked(worker, 2)  # warms up
            seconds: dict[str, list[float]] = {name: [] for name in workers}
            for pair in range(pairs):
                for name in sorted(workers, reverse=pair % 2 == 1):
                    seconds[name].append(asked(workers[name], steps)["seconds"] / steps)
            losses = {name: asked(worker, 0)["loss"] for name, worker in workers.items()}
            for worker in workers.values():
                worker.stdin.close()
                worker.wait()
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", earlier], cwd=ROOT, check=True)
    ratios = [now / before for now, before in zip(seconds["now"], seconds["earlier"], strict=True)]
    return {
        "earlier_commit": against,
        "ratio": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
        "cpu_seconds_a_step": {name: statistics.median(found) for name, found in seconds.items()},
        "loss_of_first_step": losses,
        "pairs": pairs,
        "steps": steps,
        "checks": checks,
        "llm": {"family": "llama", **_SIZES, "conversations": _CONVERSATIONS},
        "environment": {"python": platform.python_version(), "load_average": os.getloadavg()[0]},
    }


def started(tree: Path, llm: Path, encoder: Path) -> Any:
    """A process in which that tree is imported."""
    path = f"{tree}{os.pathsep}{ROOT / 'examples'}"
    return subprocess.Popen(
        [sys.executable, __file__, "--worker", llm, encoder],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def asked(worker: Any, what: Any) -> Any:
    """Has a process do something, and returns what it found."""
    worker.stdin.write(json.dumps(what) + "\n")
    worker.stdin.flush()
    for line in worker.stdout:
        if line.startswith("found "):
            return json.loads(line[6:])
    raise SystemExit("a worker ended before its time; what it said stands above")


def work(llm: Path, encoder: Path) -> None:
    """Answers on standard output what is asked on standard input."""
    import torch

    torch.set_num_threads(1)
    model, batch = built(llm, encoder)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    first = None
    for line in sys.stdin:
        what = json.loads(line)
        if what == "checks":
            print("found", json.dumps(checks(model, encoder)), flush=True)
            continue
        began = time.process_time()
        for _ in range(what):
            loss = model.training_step(batch, 0)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            first = float(loss.detach()) if first is None else first
        print("found", json.dumps({"seconds": time.process_time() - began, "loss": first}), flush=True)


def built(llm: Path, encoder: Path) -> tuple[Any, Any]:
    """The model, in training, and a batch of packed conversations."""
    import torch
    from support.tiny import section

    from nemo_vtb import VoiceTextBlender

    words = "One two three four five six seven eight nine ten. "
    chats = [[("user", "Say it."), ("assistant", words * (1 + number % 3))] for number in range(_CONVERSATIONS)]
    torch.manual_seed(0)
    # What every commit knows.
    model = VoiceTextBlender(section(llm, encoder, prompt_format="chatml")).train()
    from nemo_vtb.parts.turn_mask import encode_turns

    encoded = [encode_turns(chat, model.formatter) for chat in chats]
    return model, {"encoded": encoded, "audios": torch.zeros(0), "audio_lens": torch.zeros(0, dtype=torch.long)}


def checks(model: Any, encoder: Path) -> dict[str, float] | None:
    """CPU seconds of the checks at build; None for a commit that has none."""
    try:
        from nemo_vtb.modules.proof import prove
    except ImportError:
        return None
    from support.tiny import section

    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.assets import resolve

    smollm2 = section(Path(resolve("smollm2-135m-instruct")), encoder, prove=False)
    found = {}
    for name, tried in (("llama, 4 layers of 256", model), ("smollm2-135m", VoiceTextBlender(smollm2))):
        spent = []
        for _ in range(3):
            began = time.process_time()
            prove(tried.backbone)
            spent.append(time.process_time() - began)
        found[name] = statistics.median(spent)
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "examples"))
    main()
