"""Every command, given wrong values of every key it knows: one line that names the key, never a traceback or a hang."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from wrong_values import Wrong, failures, of_config, sampled

# Of each command, drawn by a seed; all of them with VTB_ALL_WRONG_VALUES=1, which takes an hour.
_ALL = bool(os.environ.get("VTB_ALL_WRONG_VALUES"))
_TRIED: dict[str, int] = {}


# What takes minutes or another process begins where all has been accepted: there the command ends well.
_LONG = {
    "study": "nemo_vtb.study.run.run_study",
    "synth": "nemo_vtb.synthesis.jobs.job.run_job",
    "quickstart": "nemo_vtb.quickstart.measure.measure",
    "judge": "nemo_vtb.inference.llms.hugging_face.HuggingFaceLLM",
}


def _stop(*_: Any, **__: Any) -> None:
    raise SystemExit(0)


@pytest.fixture(autouse=True)
def elsewhere(workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace.folder)


def _try(
    name: str, arguments: list[str], wrongs: list[Wrong], count: int, taken: Callable = lambda wrong: False
) -> None:
    drawn = wrongs if _ALL else sampled(wrongs, count)
    _TRIED[name] = len(drawn)
    found = failures(arguments, drawn, taken)
    assert not found, f"{len(found)} of {len(drawn)}:\n" + "\n".join(found)


def _of(workplace: SimpleNamespace, config: str, within: str = "") -> tuple[list[str], list[Wrong]]:
    folder = str(workplace.configs)
    return [f"--config-name={config}", f"--config-dir={folder}"], of_config(config, folder, within=within)


def _short(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(_LONG[command], _stop)


def _options(*wrong: tuple[str, ...]) -> list[Wrong]:
    """Options of argparse: the first is named, unless a value stands for itself."""
    return [Wrong(arguments, arguments[0].lstrip("-").partition("=")[0], True) for arguments in wrong]


def test_train(workplace: SimpleNamespace):
    config, wrongs = _of(workplace, "training")
    _try("train", ["train", *config], [w for w in wrongs if "held_out" not in w.arguments[0]], 45)


def test_preview(workplace: SimpleNamespace):
    config, wrongs = _of(workplace, "training", "data.train_ds")
    wrongs += _options(("--count=0",), ("--count=x",), ("--kind=poem",), ("--odd",), ("--cfg=odd",), ("--resolve",))
    _try("preview", ["preview", *config], wrongs, 25)


def test_data_lint(workplace: SimpleNamespace):
    config, wrongs = _of(workplace, "training", "data.")
    options = [("--processes=0",), ("--processes=x",), ("--json=no/such/folder/a.json",), ("--json=configs",)]
    wrongs += _options(*options)
    _try("data lint", ["data", "lint", "--processes=1", *config], wrongs, 25)
    files = [("nothing.jsonl",), ("--type=odd", "clips.jsonl"), ("--kind=poem", "clips.jsonl")]
    files += [("clips.jsonl", f"{key}=odd") for key in ("max_duration", "token_equivalent_duration", "odd_key")]
    named = [Wrong(given, given[-1].partition("=")[0] if len(given) > 1 else given[0], False) for given in files]
    _try("data lint FILE", ["data", "lint", "--processes=1"], named[:1] + named[3:], 9)


def test_data_report(workplace: SimpleNamespace):
    config, wrongs = _of(workplace, "training", "data.train_ds")
    wrongs += _options(("--steps=0",), ("--steps=1e3",), ("--ranks=-1",), ("--out=clips.jsonl",))
    _try("data report", ["data", "report", "--steps=2", "--out=report", *config], wrongs, 20)


def test_eval(workplace: SimpleNamespace):
    config, wrongs = _of(workplace, "evaluation")
    _try("eval", ["eval", str(workplace.checkpoint), *config], wrongs, 35)


def test_judge(workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    _short(monkeypatch, "judge")
    own = [f"llm.model={workplace.llm}", "llm.backend=hf", f"labels={workplace.folder / 'labels.jsonl'}", "out=judged"]
    _try("judge", ["judge", *own], of_config("eval/judge", None, own), 20)


def test_study(workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    _short(monkeypatch, "study")
    config, wrongs = _of(workplace, "arms_of_a_study")
    _try("study", ["study", *config], wrongs, 35)


@pytest.mark.parametrize("maker", ["text", "qa", "speech"])
def test_synth(workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, maker: str):
    _short(monkeypatch, "synth")
    own = [f"out={workplace.folder / maker}"]
    own += [f"llm.model={workplace.llm}", "llm.backend=hf"] if maker != "speech" else []
    if maker != "text":
        rows = {"qa": "clips.jsonl", "speech": "chats.jsonl"}[maker]
        own += [f"source.manifest_filepath={workplace.folder / rows}"]
    _try(f"synth {maker}", ["synth", maker, *own], of_config(f"synth/{maker}", None, own), 25)


def test_quickstart(workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    _short(monkeypatch, "quickstart")
    config, wrongs = _of(workplace, "training", "held_out")
    wrongs += _options(("--out=clips.jsonl",), ("--config-name=arms_of_a_study",))
    _try("quickstart", ["quickstart", "--out=quick", *config], wrongs, 15)


def test_chat_and_export(workplace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("builtins.input", _stop)
    checkpoint = str(workplace.checkpoint)
    odd = [("--device=odd",), ("--device=cuda",), ("--precision=odd",), ("--threads=odd",), ("--threads=-1",)]
    odd += [("--lora-scale=-1",), ("--lora-scale=nan",), ("--odd",)]
    _try("chat", ["chat", checkpoint], _options(*odd), len(odd))
    others = [Wrong((name,), name, True) for name in ("nothing.ckpt", "clips.jsonl", "configs")]
    _try("chat CHECKPOINT", ["chat"], others, len(others))
    _try("export CHECKPOINT", ["export", "--to=hf", "--out=exported"], others, len(others))
    odd = [("--to=odd",), ("--dtype=odd",), ("--eval=nothing.json",), ("--eval=clips.jsonl",), ("--out=clips.jsonl",)]
    odd += [("--config-name=nowhere",), ("--config-dir=nowhere", "--config-name=training"), ("--odd",)]
    _try("export", ["export", checkpoint, "--to=slim", "--out=exported"], _options(*odd), len(odd))


def test_doctor_launch_and_assets(workplace: SimpleNamespace):
    config, wrongs = _of(workplace, "training", "t")
    _try("doctor", ["doctor", *config], wrongs, 25)
    odd = _options(("--launcher=nothing.py",), ("--launcher=configs",), ("--odd",), ("--config-name=nowhere",))
    _try("doctor alone", ["doctor"], odd, len(odd))
    slurm = [("--nodes=0",), ("--nodes=x",), ("--gpus-per-node=-1",), ("--cpus-per-task=0",), ("--max-failures=0",)]
    slurm += [("--parts=0",), ("--parts=-1",), ("--sbatch=odd value",), ("--run=clips.jsonl",)]
    for wrong in _options(*slurm):
        train = ["--", "vtb", "train", *config, "+cluster=slurm"]
        options = Wrong((*wrong.arguments, *train), wrong.named, True)
        _try(f"launch {wrong.named}", ["launch", "slurm", "--run=made", "--dry-run"], [options], 1)
    odd = [Wrong(given, given[-1], True) for given in (("fetch", "odd"), ("odd",), ("list", "odd"))]
    _try("assets", ["assets"], odd, len(odd))


def test_at_least_three_hundred_were_tried():
    assert sum(_TRIED.values()) >= 300, _TRIED
