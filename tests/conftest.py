import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forks import OF_ONE_PROCESS, Forks, forks

# Read when the libraries are imported, and inherited by every process a test starts.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
# ``vtb`` is found as in an activated environment, however pytest was started.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

pytest_plugins = ["llama_fixtures", "families"]

AUDIO_TAG = "<|audio|>"
FRAME_SECONDS = 0.08


# The longest files begin first, so that no worker is left alone with one of them at the end.
_LONGEST = (
    "docs/test_documented_commands.py",
    "tutorials/test_notebooks.py",
    "launch/test_slurm_line.py",
    "cli/test_wrong_values.py",
    "cli/test_every_config.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders files, and nothing within a file."""
    here = Path(__file__).parent
    place = {str(here / name): number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(str(item.path), len(place)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Undoes what a command did to PyTorch: its threads, whose number moves sums, its ranks and their address."""
    yield
    for name in OF_ONE_PROCESS:
        os.environ.pop(name, None)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.set_num_threads(1)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def no_old_handlers() -> Iterator[None]:
    """Takes back the handlers that Hydra and Lightning add: they write to a stream that ends with the test."""
    yield
    for name in (None, "lightning", "lightning.pytorch", "pytorch_lightning"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            # pytest's own are of derived classes.
            if type(handler) is logging.StreamHandler and handler.stream not in (sys.__stdout__, sys.__stderr__):
                logger.removeHandler(handler)


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """The process that has imported NeMo, of which commands are forks."""
    with forks(tmp_path_factory.mktemp("fork")) as one:
        yield one


@pytest.fixture
def forking(forked: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """``sys.executable`` forks: what is started of it imports nothing anew."""
    monkeypatch.setattr(sys, "executable", forked.python)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the real SmolLM2, whose tokenizer has pad == eos == ``<|im_end|>``."""
    from nemo_vtb.assets import resolve

    return Path(resolve("smollm2-135m-instruct"))


@pytest.fixture(scope="session")
def tiny_llm(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama and SmolLM2's tokenizer."""
    from support.tiny import llm_folder
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    fields = {"vocab_size": len(tokenizer), "tie_word_embeddings": True}
    return llm_folder(tmp_path_factory.mktemp("tiny_llm"), "llama", fields, tok=tokenizer, by=1.0)


@pytest.fixture(scope="session")
def tiny_cfg(tiny_llm: Path) -> Callable[..., dict[str, Any]]:
    """Makes a ``model`` section that stock SALM takes as it is; ``adapter="vtb"`` swaps in our adapter."""

    def make(adapter: str = "nemo", **overrides: Any) -> dict[str, Any]:
        no_dropout = dict.fromkeys(("dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att"), 0.0)
        conformer = {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "d_model": 32,
            "n_layers": 1,
            "n_heads": 4,
            "conv_kernel_size": 9,
            **no_dropout,
        }
        encoder = {
            "feat_in": 80,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 16,
        }
        adapters = {
            "nemo": {**conformer, "feat_in": 32, "subsampling": "striding", "subsampling_factor": 1},
            "vtb": {
                "_target_": "nemo_vtb.modules.adapter.ConformerAdapter",
                "d_model": 32,
                "n_layers": 1,
                "n_heads": 4,
                "dropout": 0.0,
                "dropout_att": 0.0,
            },
        }
        return {
            "pretrained_llm": str(tiny_llm),
            "pretrained_weights": False,
            "prompt_format": "qwen",
            "audio_locator_tag": AUDIO_TAG,
            # NeMo's own patterns, the one for the preprocessor included, which has buffers only.
            "freeze_params": [r"^llm\..+$", r"^embed_tokens\..+$", r"^perception\.preprocessor\..+$"],
            "prevent_freeze_params": [],
            "lora": {
                "task_type": "CAUSAL_LM",
                "r": 4,
                "lora_alpha": 8,
                "lora_dropout": 0.0,
                "target_modules": ["q_proj", "v_proj"],
            },
            "perception": {
                "target": "nemo.collections.speechlm2.modules.perception.AudioPerceptionModule",
                "output_dim": 64,
                "preprocessor": {
                    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
                    "sample_rate": 16000,
                    "features": 80,
                    "n_fft": 512,
                    "window_size": 0.025,
                    "window_stride": 0.01,
                    "normalize": "per_feature",
                    "dither": 0.0,
                    "pad_to": 0,
                },
                "encoder": {**conformer, **encoder},
                "modality_adapter": adapters[adapter],
            },
            "optimizer": {"_target_": "torch.optim.AdamW", "lr": 1e-3},
            **overrides,
        }

    return make


@pytest.fixture(scope="session")
def tokenizer(tiny_llm: Path) -> Any:
    """NeMo's wrapper of SmolLM2's tokenizer with the audio placeholder, as the models build it."""
    from nemo.collections.common.tokenizers import AutoTokenizer

    wrapped = AutoTokenizer(str(tiny_llm), use_fast=True)
    wrapped.add_special_tokens({"additional_special_tokens": [AUDIO_TAG]})
    return wrapped


@pytest.fixture(scope="session")
def clips() -> list[SimpleNamespace]:
    """Four real recordings of about a second, shortest first: ``path``, ``duration`` and ``text`` of each."""
    from nemo_vtb.paths import corpora_dir

    folder = corpora_dir() / "asterisk_prompts"
    rows = map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    shortest = sorted((row for row in rows if row["duration"] > 0.7), key=lambda row: row["duration"])[:4]
    return [
        SimpleNamespace(path=folder / row["audio_filepath"], duration=row["duration"], text=row["text"])
        for row in shortest
    ]


@pytest.fixture(scope="session")
def clip(clips: list[SimpleNamespace]) -> SimpleNamespace:
    """One real recording of under a second."""
    return clips[0]


@pytest.fixture(scope="session")
def conversation() -> Callable[..., Any]:
    """Makes a NeMoMultimodalConversation from ``(role, text or path of a recording)`` turns."""
    from lhotse import Recording
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

    def make(name: str, *turns: tuple[str, str | Path], kind: str | None = None) -> NeMoMultimodalConversation:
        made = [
            AudioTurn(cut=Recording.from_file(value).to_cut(), role=role, audio_locator_tag=AUDIO_TAG)
            if isinstance(value, Path)
            else TextTurn(value=value, role=role)
            for role, value in turns
        ]
        custom = {"kind": kind} if kind else {}
        return NeMoMultimodalConversation(id=name, turns=made, token_equivalent_duration=FRAME_SECONDS, custom=custom)

    return make


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Whisper of one layer."""
    from support.tiny import whisper_folder

    return whisper_folder(tmp_path_factory.mktemp("tiny_whisper"))


@pytest.fixture(scope="session")
def slim_cfg(tiny_cfg: Callable[..., dict[str, Any]], tiny_whisper: Path) -> Callable[..., dict[str, Any]]:
    """Makes a ``model`` section whose frozen LLM and encoder stand in files; dropout is on."""

    def make(**overrides: Any) -> dict[str, Any]:
        cfg = tiny_cfg("vtb", prompt_format="chatml", pretrained_weights=True, pretrained_asr=str(tiny_whisper))
        cfg["freeze_params"] = [r"^llm\..+$", r"^embed_tokens\..+$", r"^perception\.encoder\..+$"]
        cfg["lora"]["lora_dropout"] = 0.1
        adapter = {**cfg["perception"]["modality_adapter"], "subsampling_factor": 4, "dropout": 0.1}
        cfg["perception"] = {
            "preprocessor": {"_target_": "nemo_vtb.modules.whisper.WhisperFeatures"},
            "encoder": {"_target_": "nemo_vtb.modules.whisper.WhisperEncoder"},
            "modality_adapter": adapter,
        }
        return cfg | overrides

    return make


@pytest.fixture(scope="session")
def trained(slim_cfg: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A tiny model whose LoRA does something, and its checkpoint."""
    import torch

    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO

    torch.manual_seed(1)
    cfg = slim_cfg()
    model = VoiceTextBlender(cfg).eval()
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.3)
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": {"cfg": cfg}, "global_step": 5}
    model.on_save_checkpoint(checkpoint)
    path = tmp_path_factory.mktemp("trained") / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return model, path


@pytest.fixture
def run_folder(tmp_path: Path, write_run: Callable[[Path], Path]) -> Path:
    """A folder with ``config.json``: a tiny model and a blend of text and speech."""
    return write_run(tmp_path)


@pytest.fixture(scope="session")
def write_run(slim_cfg: Callable, clips: list[SimpleNamespace]) -> Callable[[Path], Path]:
    """Fills what ``run_folder`` is."""
    return partial(_write_run, slim_cfg(), clips)


def _write_run(model: dict[str, Any], clips: list[SimpleNamespace], folder: Path) -> Path:
    questions = {
        "text": [(f"t{number}", "text", f"Say {number}.", f"Here is number {number}.") for number in range(12)],
        "asr": [(f"a{number}", "audio", str(clip.path), clip.text) for number, clip in enumerate(clips)],
    }
    kinds = {}
    for kind, of_kind in questions.items():
        path = folder / f"{kind}.jsonl"
        with path.open("w") as file:
            for name, modality, question, answer in of_kind:
                asked = {"from": "User", "value": question, "type": modality}
                said = {"from": "Assistant", "value": answer, "type": "text"}
                file.write(json.dumps({"id": name, "conversations": [asked, said]}) + "\n")
        kinds[kind] = {"share": 0.5, "input_cfg": [{"manifest_filepath": str(path)}]}
    common = {
        "prompt_format": "chatml",
        "audio_locator_tag": model["audio_locator_tag"],
        "token_equivalent_duration": 0.08,
    }
    held_out = {kind: {"input_cfg": section["input_cfg"]} for kind, section in kinds.items()}
    data = {
        "train_ds": {**common, "batch_tokens": 128, "blend": {"kinds": kinds}},
        "validation_ds": {**common, "batch_tokens": 64, "kinds": held_out},
    }
    (folder / "config.json").write_text(json.dumps({"model": model, "data": data}))
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many documented commands were run, which were only looked at, and what each notebook took."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    notebooks = [value for report in reports for name, value in report.user_properties if name == "notebook"]
    if notebooks:
        terminalreporter.section("notebooks")
        for one in notebooks:
            terminalreporter.line(f"  {one['name']}: {one['cpu_seconds']} CPU s")
    found = [value for report in reports for name, value in report.user_properties if name == "documentation"]
    if found:
        totals = {key: sum(one[key] for one in found) for key in ("found", "executed")}
        dry = [line for one in found for line in one["dry"]]
        terminalreporter.section("documentation")
        terminalreporter.line(f"{totals['found']} commands found, {totals['executed']} executed, {len(dry)} dry-run:")
        for line in dry:
            terminalreporter.line(f"  {line}")


@pytest.fixture
def warned(caplog):
    """What NeMo's logger warns of; it hands nothing on to others, and commands may have quieted it."""
    logger = logging.getLogger("nemo_logger")
    with caplog.at_level(logging.WARNING, logger=logger.name):
        logger.addHandler(caplog.handler)
        yield caplog
        logger.removeHandler(caplog.handler)
