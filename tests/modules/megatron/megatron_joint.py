"""A tiny joint run on either backbone, as one rank of it: text, speech and mixed rows, gate, alignment and KL."""

import hashlib
import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import megatron_shim
import torch
from lightning.pytorch import Callback, Trainer
from tiny_training import train

FAMILY = "qwen3"
FIELDS = {"vocab_size": 272, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


def write_run(folder: Path, **model: Any) -> Path:
    """Writes ``config.json`` of a run with 12 conversations of each kind; a rank's batch holds a few."""
    import numpy as np
    import soundfile
    from support import tiny

    folder.mkdir(exist_ok=True)
    llm = tiny.llm_folder(folder / "llm", FAMILY, FIELDS)
    encoder = tiny.whisper_folder(folder / "whisper")
    kinds = {}
    noise = np.random.default_rng(0)
    for kind in ("text", "asr", "mixed"):
        path = folder / f"{kind}.jsonl"
        with path.open("w") as file:
            for number in range(12):
                clip = folder / f"{kind}{number}.wav"
                soundfile.write(clip, noise.normal(0, 0.1, 8000 + 800 * number).astype("f4"), 16000)
                asked = [("audio", str(clip)) if kind != "text" else ("text", f"Say {number}.")]
                turns = [turn("User", value, type_) for type_, value in asked]
                turns.append(turn("Assistant", f"It is number {number}."))
                if kind == "mixed":
                    turns += [turn("User", f"And {number + 1}?"), turn("Assistant", "That is next.")]
                file.write(json.dumps({"id": f"{kind}{number}", "conversations": turns}) + "\n")
        kinds[kind] = {"share": 1 / 3, "input_cfg": [{"manifest_filepath": str(path)}]}
    section = tiny.section(llm, encoder, **model)
    section["optimizer"]["lr"] = 2e-3
    common = {
        "prompt_format": "chatml",
        "audio_locator_tag": section["audio_locator_tag"],
        "token_equivalent_duration": 0.08,
    }
    data = {"train_ds": {**common, "batch_tokens": 192, "blend": {"kinds": kinds}}}
    held_out = {kind: {"input_cfg": of_kind["input_cfg"]} for kind, of_kind in kinds.items()}
    data["validation_ds"] = {**common, "batch_tokens": 96, "kinds": held_out}
    (folder / "config.json").write_text(json.dumps({"model": section, "data": data}))
    return folder


def turn(speaker: str, value: str, kind: str = "text") -> dict[str, str]:
    return {"from": speaker, "value": value, "type": kind}


JOINT = {
    "text_lora": "audio_gated",
    "text_kl": 0.5,
    "alignment": {"weight": 0.5},
    "row_tokens": 64,
}


class SharedFactors(Callback):
    """Has Hugging Face's factors A that are one in a fused matrix step as one."""

    def on_before_optimizer_step(self, trainer: Trainer, model: Any, optimizer: Any) -> None:
        if not model.backbone.tensor_parallel:
            share_gradients(model.llm)


class Unsteady(Callback):
    """Has each rank of a group find other gradients of what is whole there, as sums in no fixed order do.

    Args:
        averaged: Whether the strategy may make them one again.
        path: Receives, for each rank, a digest of what is whole on it when training ends.
    """

    def __init__(self, averaged: bool, path: Path) -> None:
        self.averaged, self.path = averaged, path

    def on_fit_start(self, trainer: Trainer, model: Any) -> None:
        if not self.averaged:
            trainer.strategy.post_backward = lambda loss: None
        factor = 1 + 1e-4 * trainer.global_rank
        for _, parameter in self._whole(model):
            parameter.register_hook(lambda gradient: gradient * factor)

    def on_fit_end(self, trainer: Trainer, model: Any) -> None:
        held = b"".join(parameter.detach().numpy().tobytes() for _, parameter in self._whole(model))
        parts = sorted({name.partition(".")[0] for name, _ in self._whole(model)})
        said = {"parts": parts, "digest": hashlib.sha256(held).hexdigest()}
        Path(f"{self.path}.{trainer.global_rank}").write_text(json.dumps(said))

    def _whole(self, model: Any) -> list[tuple[str, torch.nn.Parameter]]:
        from nemo_vtb.modules.megatron.cut import Cut, cut_of

        return [(n, p) for n, p in model.named_parameters() if p.requires_grad and cut_of(n) is Cut.WHOLE]


def begin_alike(model: Any) -> None:
    """Sets what trains to values drawn by the names it has on megatron-core, in either backbone."""
    from nemo_vtb.modules.megatron.convert import to_hugging_face

    config = model.backbone.causal_lm.config
    width, rank = config.hidden_size, model.cfg.lora.r
    heads = (config.num_attention_heads + 2 * config.num_key_value_heads) * 16
    sizes = {
        "self_attention.linear_qkv": (width, heads),
        "self_attention.linear_proj": (config.num_attention_heads * 16, width),
        "mlp.linear_fc1": (width, 2 * config.intermediate_size),
        "mlp.linear_fc2": (config.intermediate_size, width),
    }
    state = {}
    for layer in range(config.num_hidden_layers):
        for name, (into, out) in sizes.items():
            for factor, shape, scale in (("A", (rank, into), 0.1), ("B", (out, rank), 0.02)):
                full = f"llm.base_model.model.model.layers.{layer}.{name}.lora_{factor}.default.weight"
                drawn = torch.Generator().manual_seed(zlib.crc32(full.encode()))
                state[full] = torch.randn(shape, generator=drawn) * scale
    state = model.backbone.own_state(state) if model.backbone.tensor_parallel else to_hugging_face(state, config)
    parameters = dict(model.named_parameters())
    assert set(state) == {name for name in parameters if ".lora_" in name}
    for name in set(model.trainable_names) - set(state):
        # The two draw other numbers for LoRA, so what is drawn behind it begins elsewhere too.
        drawn = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        whole = torch.randn(parameters[name].shape, generator=drawn) * 0.05
        state[name] = whole if whole.dim() > 1 else torch.zeros_like(whole) + (not name.endswith("bias"))
    with torch.no_grad():
        for name, value in state.items():
            parameters[name].copy_(value)


def share_gradients(llm: torch.nn.Module) -> None:
    """Gives the copies of a fused factor A the gradient of that factor: the sum of theirs."""
    parameters = {name: p for name, p in llm.named_parameters() if ".lora_A." in name and p.grad is not None}
    for parts in FUSED:
        for name in [name for name in parameters if f".{parts[0]}." in name]:
            copies = [parameters[name.replace(parts[0], part)] for part in parts]
            total = sum(copy.grad for copy in copies)
            for copy in copies:
                copy.grad = total.clone()


def run(
    folder: Path,
    log: str,
    ranks: int = 2,
    fixed: bool = False,
    averaged: bool | None = None,
    **options: Any,
) -> None:
    """``tiny_training.train`` on megatron-core, or on Hugging Face where the config says so.

    Args:
        folder: Of ``write_run``.
        log: Name of the record.
        ranks: Of the run.
        fixed: Whether both backbones are to begin, and step, alike.
        averaged: Of ``Unsteady``; None leaves it out.
        **options: Of ``tiny_training.train``.
    """
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    megatron_shim.apply()
    section = json.loads((folder / "config.json").read_text())["model"]
    on_megatron = section.get("llm_backend") == "megatron"
    strategy = "vtb_megatron" if on_megatron else "auto" if ranks == 1 else "ddp"
    if fixed:
        options |= {"more": (SharedFactors(),), "prepare": begin_alike}
    if averaged is not None:
        options["more"] = (Unsteady(averaged, folder / "whole"),)
    train(folder, log, strategy, devices=ranks, **options)
