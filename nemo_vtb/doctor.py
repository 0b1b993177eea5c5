"""Checks an installation, says the remedy of what is wrong, and what this machine and a config would run with."""

import ast
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import EXTRAS
from nemo_vtb.registry import LAUNCHER_NAMES
from nemo_vtb.versions import check_versions

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Programs that are no Python packages -> what needs them.
PROGRAMS = {
    "sbatch": "vtb launch slurm",
    "srun": "runs on several nodes",
    "ffmpeg": "recordings as m4a, mp4 or webm",
    "flite": "voices of vtb synth speech",
    "espeak-ng": "voices of vtb synth speech in other languages than English",
    "chromium": "tests of pages",
    "nvidia-smi": "GPUs",
}
# Gigabytes of the cards that are told apart.
CARDS = (24, 80, 141)
# Of model.attn_implementation and model.loss_backend -> the package each needs.
_KERNELS = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "cut_cross_entropy": "cut_cross_entropy",
    "liger": "liger_kernel",
}


def doctor(launcher: str | None = None) -> int:
    """Prints one line per check; returns 1 when something is wrong, else 0."""
    problems = check_versions()
    print("versions: " + ("ok" if not problems else ""))
    for problem in problems:
        print(f"  {problem}")
    plugin = _plugin_found()
    print("hydra plugin: " + ("ok" if plugin else "not found; run: pip install nemo-vtb (or pip install -e .)"))
    print(f"python: {sys.version.split()[0]}; {_device()}")
    print("\n".join(machine_lines()))
    fine = not problems and plugin
    if launcher is not None:
        missing = missing_names(launcher)
        fine &= not missing
        print(f"launcher {launcher}: " + ("ok" if not missing else f"does not import {', '.join(missing)}"))
    return 0 if fine else 1


def machine_lines() -> Iterator[str]:
    """Yields what this machine can use, a line each; ``auto`` is what the shipped configs ask for."""
    import os

    import torch

    from nemo_vtb.parts.machine.choice import choose_attention, choose_precision, choose_threads, is_half
    from nemo_vtb.parts.machine.hardware import default_device, look

    machine, cpu = look(default_device()), look("cpu", measured=False)
    precision = choose_precision(machine)
    usable = ["32-true", "bf16-mixed", "bf16-true", *(["16-mixed"] if machine.device == "cuda" else [])]
    yield f"precision: {', '.join(usable)}; auto is {precision}"
    there = ["sdpa", "eager", *machine.flash, *(["flex_attention"] if machine.device == "cuda" else [])]
    yield f"attention: {', '.join(there)}; auto is {choose_attention(machine, is_half(precision.value))}"
    yield f"threads: auto is {choose_threads(cpu, os.environ)}"
    several = torch.cuda.device_count() > 1 or machine.device == "cpu"
    names = ["auto", "ddp", *(["vtb_fsdp2", "vtb_hsdp"] if several else [])]
    names += ["vtb_megatron"] if find_spec("megatron") is not None else []
    backend = "gloo" if machine.device == "cpu" else "nccl"
    spread = torch.distributed.is_available() and getattr(torch.distributed, f"is_{backend}_available")()
    yield f"strategies: {', '.join(names if spread else names[:1])}; ranks talk over {backend if spread else 'nothing'}"
    extras = {extra: [name for name in names if find_spec(name) is None] for extra, names in EXTRAS.items()}
    yield f"extras: {', '.join(extra for extra, lacks in extras.items() if not lacks) or 'none'}"
    for extra, lacks in extras.items():
        if lacks:
            yield f"  {extra}: {', '.join(lacks)} missing; run: pip install 'nemo-vtb[{extra}]'"
    yield f"llm backends: {', '.join(_backends(machine.device))}"
    kernels = {name: find_spec(package) is not None and machine.device == "cuda" for name, package in _KERNELS.items()}
    yield f"kernels: {', '.join(name for name, there in kernels.items() if there) or 'none'}"
    found = {name: shutil.which(name) for name in PROGRAMS}
    yield f"programs: {', '.join(name for name, path in found.items() if path) or 'none'}"
    for name, path in found.items():
        if path is None:
            yield f"  {name}: not on the path; needed for {PROGRAMS[name]}"


def _backends(device: str) -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version

    yield "hf"
    try:
        rows = "" if device == "cuda" else "; sequence_parallel needs GPUs"
        yield f"megatron (megatron-core {version('megatron-core')}{rows})"
    except PackageNotFoundError:
        return


def config_lines(cfg: "DictConfig") -> Iterator[str]:
    """Yields what a config would run with here, a line each: ``precision:``, ``attention:``, ``threads:`` first.

    Args:
        cfg: For training, or one that asks a checkpoint (``conf/eval``) or trains several (``conf/study``).

    Raises:
        VTBError: On what the command that runs it would refuse too, as far as nothing need be loaded to see it.
    """
    from nemo_vtb.models.for_machine import answer_settings, settings_here

    _require_known(cfg, ("trainer", "model", "eval", "measure"))
    if "eval" in cfg or "measure" in cfg:
        from nemo_vtb.config import resolved

        section = resolved(cfg)
        asked = section.measure if "measure" in cfg else section
        chosen = answer_settings(asked.get("precision", "32-true"), asked.get("device", "cpu"), section.get("threads"))
    else:
        from nemo_vtb.training import check_config

        check_config(cfg)
        chosen = settings_here(cfg)
    yield from (f"{name}: {choice}" for name, choice in chosen.items())
    if "trainer" in cfg:
        trainer, model = cfg.trainer, cfg.model
        ranks = f"{trainer.get('num_nodes', 1)} x {trainer.get('devices', 'auto')}"
        strategy = trainer.get("strategy", "auto")
        named = strategy if isinstance(strategy, str) else strategy.get("_target_", strategy)
        yield f"device: {trainer.get('accelerator', 'auto')}, nodes x devices {ranks}, strategy {named}"
        from nemo_vtb.models.for_machine import check_accelerator
        from nemo_vtb.parts.machine.choice import is_half

        if model.get("llm_backend") == "megatron":
            yield f"llm: on megatron-core, cut over {model.get('tensor_model_parallel_size') or 1} neighbouring ranks"
        weights = model.get("llm_dtype") or "float32"
        followed = "bfloat16" if is_half(chosen["precision"].value) else "float32"
        yield f"weights: frozen LLM in {followed if weights == 'auto' else weights}; what trains in float32"
        yield f"models: {_where(model.pretrained_llm)}; {_where(model.get('pretrained_asr'))}"
        check_accelerator(cfg)


def memory_lines(cfg: "DictConfig") -> Iterator[str]:
    """Yields what a training config takes of one GPU, by arithmetic over its shapes; no weight is read.

    Raises:
        VTBError: If the configs of its LLM or speech encoder cannot be read.
    """
    from nemo_vtb import registry
    from nemo_vtb.config import resolved
    from nemo_vtb.models.memory import memory_of

    _require_known(cfg, ("model",))
    registry.register()
    cfg = resolved(cfg)
    found = memory_of(cfg.model, float(cfg.data.train_ds.get("max_duration", 30.0)))
    yield f"weights: {found.trained / 1e6:.1f} million learn, {found.frozen / 1e6:.1f} million do not"
    yield f"standing: {found.standing / 1e9:.2f} GB of weights, gradients and moments"
    yield f"working: {found.working / 1e9:.2f} GB of logits and speech, {found.per_position / 1e3:.0f} kB a position"
    for gigabytes in CARDS:
        yield f"{gigabytes} GB: batch_tokens={found.batch_tokens(gigabytes) or 'no batch fits'}"


def _require_known(cfg: "DictConfig", sections: Sequence[str]) -> None:
    if not any(section in cfg for section in sections):
        raise VTBError(
            f"the config has no section {' or '.join(sections)}: vtb doctor reads configs of vtb train (quickstart), "
            "and without --memory those of vtb eval (eval/quickstart) and vtb study (study/quickstart)"
        )


def _where(name: str | None) -> str:
    from nemo_vtb.assets.catalog import CATALOG
    from nemo_vtb.assets.resolve import local_folder

    if not name:
        return "no speech encoder by name"
    if local_folder(str(name)) is not None or Path(str(name)).is_file():
        return f"{name} is here"
    return f"{name} {'will be fetched' if name in CATALOG else 'must come from the hub'}"


def missing_names(launcher: str) -> list[str]:
    """Lists which of the names nemo_vtb rebinds a launcher script does not import or define.

    Raises:
        VTBError: If the file is missing or is not Python.
    """
    path = Path(launcher)
    if not path.is_file():
        raise VTBError(f"no launcher at {launcher}")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise VTBError(f"{launcher}:{error.lineno}: not a Python file: {error.msg}") from error
    bound = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    bound |= {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return [name for name in LAUNCHER_NAMES if name not in bound]


def _plugin_found() -> bool:
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    return any(plugin.__name__ == "NeMoVTBSearchPath" for plugin in Plugins.instance().discover(SearchPathPlugin))


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, NCCL {torch.cuda.nccl.version()}"
    return f"no GPU, {torch.get_num_threads()} CPU threads"
