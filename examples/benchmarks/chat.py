"""Ten turns of text and speech: time to first token and tokens a second by turn, kept, recomputed, and by stock SALM.

python examples/benchmarks/chat.py --json examples/benchmarks/results/chat.json
python examples/benchmarks/chat.py --checkpoint runs/quickstart/last.ckpt --tokens 16 --json chat.json

CPU milliseconds of one process and one thread, arms in turn within each turn of the conversation, so that load on the
machine meets all of them alike. The conversation begins in writing: its first recording, in turn 3, lets LoRA in.
"""

import argparse
import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nemo_vtb import ChatSession
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.decoder import Decoder
from nemo_vtb.models.load import load_checkpoint
from nemo_vtb.paths import SHIPPED, corpora_dir

TURNS = (
    ("What is the capital of France?", None),
    ("And of Italy?", None),
    ("Transcribe the audio.", 0),
    ("Thank you. What did I say?", None),
    ("Transcribe the audio.", 1),
    ("Say hello in Spanish.", None),
    ("Transcribe the audio.", 2),
    ("What comes after Tuesday?", None),
    ("Transcribe the audio.", 3),
    ("And this one?", 4),
)
ARMS = ("ours", "recomputed", "salm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=SHIPPED)
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3, help="each figure is the least of so many")
    parser.add_argument("--json", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = measure(args.checkpoint, args.tokens, args.repeats)
    report["environment"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "threads": 1,
        "load_average": os.getloadavg()[0],
        "command": f"python examples/benchmarks/chat.py --json {args.json}",
    }
    Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({key: value for key, value in report.items() if key != "turns"}, indent=2))


def measure(checkpoint: str, tokens: int, repeats: int) -> dict[str, Any]:
    model = load_checkpoint(checkpoint, precision="32-true")
    folder = corpora_dir() / "spoken_commands"
    rows = map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    clips = [folder / row["audio_filepath"] for row in rows if row["split"] == "test_new_voice"][:5]
    report: dict[str, Any] = {arm: {"ttft_ms": [], "tokens_per_s": [], "encoded": []} for arm in ARMS}
    report["turns"] = []
    talk = ChatSession(model)
    for text, clip in TURNS:
        line = text if clip is None else f"{text} @{clips[clip]}"
        before, decoder = talk.turns, talk.decoder
        said: dict[str, list[int]] = {}
        best = {arm: (float("inf"), 0.0) for arm in ARMS}
        # What ours keeps from this turn must not help its own repeats.
        kept = list(decoder._pasts._pasts)
        known = decoder.frames._frames.copy()
        for _ in range(repeats):
            for arm in ARMS:
                if arm == "ours":
                    decoder._pasts._pasts = list(kept)
                    decoder.frames._frames = known.copy()
                    talk.turns = before
                    encoded = decoder.frames.encoded
                    first, rate = timed(talk, line, tokens)
                    said[arm], encoded = talk.answer.tokens, decoder.frames.encoded - encoded
                elif arm == "recomputed":
                    alone = ChatSession(model, decoder=Decoder(model, keep_megabytes=0))
                    alone.turns = before
                    first, rate = timed(alone, line, tokens)
                    said[arm], encoded = alone.answer.tokens, alone.decoder.frames.encoded
                else:
                    first, rate, said[arm], encoded = by_salm(model, talk.answer, tokens)
                if first < best[arm][0]:
                    best[arm] = first, rate
                    counts = report[arm]["encoded"]
                    counts[len(report["turns"]) :] = [encoded]
        for arm, (first, rate) in best.items():
            report[arm]["ttft_ms"].append(round(first * 1000, 1))
            report[arm]["tokens_per_s"].append(round(rate, 2))
        report["turns"].append(
            {
                "asked": line if clip is None else f"{text} @{clips[clip].name}",
                "said": talk.answer.text,
                "known_positions": talk.answer.kept,
                "positions": len(talk.answer.prompt.keys),
                "equal": {arm: said[arm] == said["ours"] for arm in ARMS[1:]},
            }
        )
    first = {arm: report[arm]["ttft_ms"] for arm in ARMS}
    report["ratio"] = {arm: round(first[arm][-1] / first["ours"][-1], 2) for arm in ARMS[1:]}
    report["equal_answers"] = {arm: sum(turn["equal"][arm] for turn in report["turns"]) for arm in ARMS[1:]}
    report["gate_flip"] = {"turn": 3, "known_positions": report["turns"][2]["known_positions"]}
    return report


def timed(session: ChatSession, line: str, tokens: int) -> tuple[float, float]:
    """CPU seconds to the first token and tokens a second behind it."""
    stamps: list[float] = []
    takes = Answer.takes

    def stamped(answer: Answer, *args: Any) -> str:
        stamps.append(time.process_time())
        return takes(answer, *args)

    Answer.takes = stamped  # type: ignore[method-assign]
    begin = time.process_time()
    try:
        session.say(line, max_new_tokens=tokens)
    finally:
        Answer.takes = takes  # type: ignore[method-assign]
    return stamps[0] - begin, (len(stamps) - 1) / max(stamps[-1] - stamps[0], 1e-9)


def by_salm(model: Any, answer: Answer, tokens: int) -> tuple[float, float, list[int], int]:
    """The same prompt through NeMo's ``SALM.generate``, whole and without a gate, which is closed for written ones."""
    from nemo.collections.speechlm2.models import SALM
    from transformers.generation.streamers import BaseStreamer

    class Stamps(BaseStreamer):
        def __init__(self) -> None:
            self.at: list[float] = []

        def put(self, value: torch.Tensor) -> None:
            self.at.append(time.process_time())

        def end(self) -> None:
            pass

    sounds = [torch.from_numpy(sound.samples) for turn in answer.turns for sound in turn.sounds]
    stamps = Stamps()
    begin = time.process_time()
    audio = {}
    if sounds:
        audio["audios"] = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True)
        audio["audio_lens"] = torch.tensor([len(sound) for sound in sounds])
    with without_gate(model, bool(sounds)), torch.no_grad():
        ids = torch.from_numpy(answer.prompt.ids)[None]
        said = SALM.generate(model, ids, **audio, max_new_tokens=tokens, streamer=stamps)[0].tolist()
    # Given ids alone it returns the prompt too. What is streamed first is the prompt, an empty one for embeddings.
    said, at = said if sounds else said[len(answer.prompt.ids) :], stamps.at[1:]
    stops = {model.text_eos_id, *Decoder(model).writer.stops}
    length = next((number for number, token in enumerate(said) if token in stops), len(said))
    return at[0] - begin, (len(at) - 1) / max(at[-1] - at[0], 1e-9), said[:length], len(sounds)


@contextlib.contextmanager
def without_gate(model: Any, spoken: bool) -> Iterator[None]:
    """The weights that answer, as stock SALM has no gate: the untouched LLM's for written prompts of a gated model."""
    model.backbone._gate.value = None
    with contextlib.nullcontext() if spoken or not model.gated else model.backbone.without_lora():
        yield


if __name__ == "__main__":
    main()
