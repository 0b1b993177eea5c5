"""One adapter or one speech encoder: built, trained, saved, loaded, exported, compared with PEFT or Hugging Face."""

import copy
from pathlib import Path
from typing import Any

import torch

from support.families import LLMS
from support.tiny import CHATS, SPOKEN, batch, encoder_folder, llm_folder, nemo_asr, section
from support.variants import ADAPTERS, ENCODERS


def encoder(folder: Path, name: str) -> Path:
    """A folder (or ``.nemo`` file) with a random speech encoder of the table and its feature extractor."""
    kind, fields, extractor, _ = ENCODERS[name]
    return nemo_asr(folder, **fields) if kind == "nemo" else encoder_folder(folder, kind, fields, extractor)


def build(cfg: dict[str, Any]) -> Any:
    """The model, in evaluation mode."""
    from nemo_vtb import VoiceTextBlender

    torch.manual_seed(0)
    return VoiceTextBlender(copy.deepcopy(cfg)).eval()


def losses(model: Any, chats: Any = (*CHATS, SPOKEN), grad: bool = False) -> torch.Tensor:
    """Losses of all supervised tokens of a batch with one clip for each conversation that has the tag."""
    made = batch(model, list(chats), clips=sum(chat == SPOKEN for chat in chats))
    with torch.set_grad_enabled(grad):
        return model.compute_losses(made, *model.encode_clips(made))[0]


def train(model: Any, steps: int = 4) -> list[str]:
    """Trains a few steps; returns the parameters that were to train and got no gradient in any."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=5e-3)
    idle = set(trained)
    for _ in range(steps):
        optimizer.zero_grad()
        losses(model, grad=True).mean().backward()
        idle -= {name for name, p in trained.items() if p.grad is not None and p.grad.any()}
        optimizer.step()
    return sorted(idle)


def save(model: Any, cfg: dict[str, Any], path: Path) -> Path:
    """Writes a checkpoint as a run does."""
    from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO

    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": {"cfg": copy.deepcopy(cfg)}, "global_step": 4}
    model.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return path


@torch.no_grad()
def plain(hf: Any, model: Any, chat: Any) -> torch.Tensor:
    """The losses of a written conversation from Hugging Face's own forward pass."""
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    encoded = encode_turns(list(chat), model.formatter)
    ids = torch.from_numpy(encoded.input_ids)[None]
    logits = hf.eval()(input_ids=ids).logits[0].float()
    every = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
    return every[torch.from_numpy(encoded.loss_mask)[1:]]


def names(cfg: dict[str, Any]) -> Any:
    """What others would get LLM and encoder by; here the folders themselves."""
    from nemo_vtb.inference.export import CardInputs

    return CardInputs(llm=cfg["pretrained_llm"], encoder=cfg["pretrained_asr"])


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference."""
    return float((one - other).abs().max())


def prove_adapter(name: str, root: Path) -> dict[str, Any]:
    """One row: what was proved of a setting, as differences or shares; a refusal ends it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.inference.export import export
    from nemo_vtb.models.load import load_checkpoint

    settings = dict(ADAPTERS[name])
    family, fields = settings.pop("family", "qwen2"), settings.pop("llm", {})
    more = {key[1:]: settings.pop(key) for key in list(settings) if key.startswith(".")}
    folder = llm_folder(root / "llm", family, LLMS[family]["fields"] | fields, LLMS[family]["without"])
    cfg = section(folder, encoder(root / "encoder", "Whisper, 80 bands"), **more)
    cfg["lora"] |= settings
    model = build(cfg)
    exact = "quantization" not in more
    with model.backbone.without_lora():
        before = losses(model, CHATS[:1])
    row: dict[str, Any] = {}
    first = float(losses(model).mean())
    row["learns"] = not (idle := train(model)) and float(losses(model).mean()) < first
    assert row["learns"], f"without a gradient: {idle}" if idle else "the loss does not fall"
    tuned, text = losses(model), losses(model, CHATS[:1])
    with model.backbone.without_lora():
        off = losses(model, CHATS[:1])
    untouched = AutoModelForCausalLM.from_pretrained(folder)
    reference = plain(untouched, model, CHATS[0]) if exact else before
    row["off is untouched"] = max(far(off, reference), far(off, before))
    row["gate is untouched"] = far(text, reference) if model.gated else None
    path = save(model, cfg, root / "last.ckpt")
    again = load_checkpoint(path)
    row["resumes"] = far(losses(again), tuned)
    train(model, 1), train(again, 1)
    row["resumes"] = max(row["resumes"], far(losses(again), losses(model)))
    model = load_checkpoint(path, quantized=False)
    tuned = losses(model)
    model.gated = False
    with_lora = losses(model, CHATS[:1])
    if not exact:
        untouched = AutoModelForCausalLM.from_pretrained(folder)
    for form in ("adapter", "hf", "slim", "merged"):
        out = root / form
        try:
            export(str(path), form, str(out), "float32", names(cfg))
        except Exception as error:
            if "cannot be merged" not in str(error):
                raise
            row[form] = "refused: " + str(error)
            continue
        if form == "adapter":
            read = PeftModel.from_pretrained(untouched, out)
            row[form] = far(plain(read, model, CHATS[0]), with_lora)
        else:
            read = load_checkpoint(out, quantized=False) if form == "slim" else VoiceTextBlender.from_pretrained(out)
            read = read.eval()
            gated = "text_lora" in more and form != "merged"
            row[form] = far(losses(read), tuned) if gated else far(losses(read, CHATS[:1]), with_lora)
            row[form] = max(row[form], far(losses(read, (SPOKEN,)), losses(model, (SPOKEN,))))
    return row


def prove_encoder(name: str, root: Path) -> dict[str, Any]:
    """One row: frames beside Hugging Face's own, alone and in a batch, trained, saved and exported."""
    import transformers

    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.inference.export import export
    from nemo_vtb.models.load import load_checkpoint
    from nemo_vtb.parts.encode import encoder_frames

    kind, _, extractor, samples = ENCODERS[name]
    path = encoder(root / "encoder", name)
    cfg = section(llm_folder(root / "llm", "qwen2"), path, kind)
    if kind != "nemo":
        cfg["freeze_params"] = cfg["freeze_params"][:2]
    cfg["perception"]["modality_adapter"]["subsampling_factor"] = 1
    model = build(cfg)
    row: dict[str, Any] = {}
    counts = torch.tensor([16000, 9137, 700, 23456])
    clips = torch.zeros(4, int(counts.max()))
    for i, count in enumerate(counts):
        clips[i, :count] = torch.randn(count, generator=torch.Generator().manual_seed(i)) * 0.1
    with torch.no_grad():
        together, lengths = encoder_frames(model.perception, clips, counts)
        row["batch equals alone"] = 0.0
        for i, count in enumerate(counts):
            alone, length = encoder_frames(model.perception, clips[i : i + 1, :count], counts[i : i + 1])
            assert length[0] == lengths[i], f"{length[0]} frames alone, {lengths[i]} in a batch"
            ours = together[i, :, : lengths[i]]
            row["batch equals alone"] = max(row["batch equals alone"], far(alone[0, :, : lengths[i]], ours))
    row["frame rate"] = model.perception.token_equivalent_duration * 16000 - samples
    assert abs(float(lengths[3]) * samples - 23456) < 4 * samples, "the frames are not as long as the clip"
    if extractor not in (None, "nemo", "WhisperFeatureExtractor"):
        features = transformers.AutoFeatureExtractor.from_pretrained(path)
        made = features(clips[0, :16000].numpy(), sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
        theirs = transformers.AutoModel.from_pretrained(path).eval()
        theirs = theirs.get_encoder() if kind == "moonshine" else theirs
        with torch.no_grad():
            frames = theirs(**made).last_hidden_state[0].T[:, : lengths[0]]
        row["Hugging Face"] = far(frames, together[0, :, : lengths[0]])
    else:
        row["Hugging Face"] = None
    first = float(losses(model).mean())
    idle = train(model)
    row["learns"] = not idle and float(losses(model).mean()) < first
    assert row["learns"], f"without a gradient: {idle}" if idle else "the loss does not fall"
    tuned = losses(model)
    saved = save(model, cfg, root / "last.ckpt")
    row["resumes"] = far(losses(load_checkpoint(saved)), tuned)
    for form in ("hf", "slim"):
        export(str(saved), form, str(root / form), "float32", names(cfg))
        read = load_checkpoint(root / form) if form == "slim" else VoiceTextBlender.from_pretrained(root / form)
        row[form] = far(losses(read.eval()), tuned)
    return row
