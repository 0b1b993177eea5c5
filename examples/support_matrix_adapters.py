"""What was proved of each adapter and each speech encoder, on tiny models with random weights, no download:

    python examples/support_matrix_adapters.py --json matrix.json --markdown tutorials/adapters_and_encoders.md

Every row is built, trained a few steps, saved, loaded, exported in each form and compared with PEFT's or Hugging Face's
own computation, or it is refused and the sentence is shown. ``--only NAME`` runs some of them.
"""

import argparse
import copy
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import torch  # noqa: E402

TAG = "<|audio|>"
BOUND = 2e-4  # of losses and frames in float32, whose size is about 5 and 1
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATS = (
    (("user", "Say one."), ("assistant", "Here is one.")),
    (("user", "Colour of grass?"), ("assistant", "Green."), ("user", "And snow?"), ("assistant", "White, mostly.")),
)
SPOKEN = (("user", f"Transcribe. {TAG}"), ("assistant", "open the door"))
MARK = "<!-- {} matrix: examples/support_matrix_adapters.py -->"

# Fields of model.lora (or other keys of model, with a point), and what the LLM must be for it.
ADAPTERS: dict[str, dict[str, Any]] = {
    "LoRA, all-linear": {},
    "LoRA, list of modules": {"target_modules": ["q_proj", "v_proj", "down_proj"]},
    "LoRA, regular expression": {"target_modules": r".*layers\.1\..*(q|v)_proj"},
    "LoRA, gated by audio": {".text_lora": "audio_gated"},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "PiSSA": {"init_lora_weights": "pissa"},
    "PiSSA, fast, with rsLoRA, gated": {
        "init_lora_weights": "pissa_niter_4",
        "use_rslora": True,
        ".text_lora": "audio_gated",
    },
    "OLoRA": {"init_lora_weights": "olora"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "gaussian": {"init_lora_weights": "gaussian"},
    "rank_pattern, alpha_pattern": {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 2}},
    "layers_to_transform": {"target_modules": ["q_proj"], "layers_to_transform": [1]},
    "exclude_modules": {"exclude_modules": ["k_proj"]},
    "lora_bias": {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
    "bias: all": {"bias": "all"},
    "bias: lora_only": {"bias": "lora_only"},
    "modules_to_save: norm": {"modules_to_save": ["norm"]},
    "modules_to_save: lm_head, untied": {"modules_to_save": ["lm_head"], "llm": {"tie_word_embeddings": False}},
    "LoRA on lm_head, untied": {"target_modules": ["q_proj", "lm_head"], "llm": {"tie_word_embeddings": False}},
    "target_parameters (experts)": {"target_parameters": ["mlp.experts.gate_up_proj"], "family": "qwen3_moe"},
    "LoRA on the speech encoder": {".encoder_lora": {"r": 4, "lora_alpha": 8}},
    "8-bit base (torchao)": {".quantization": "torchao_int8"},
    "4-bit base (bitsandbytes)": {".quantization": "bnb_4bit"},
    # To be refused.
    "LoRA on lm_head, tied": {"target_modules": ["q_proj", "lm_head"], "llm": {"tie_word_embeddings": True}},
    "LoRA on embed_tokens": {"target_modules": ["q_proj", "embed_tokens"]},
    "trainable_token_indices": {"trainable_token_indices": [1, 2]},
    "DoRA, gated by audio": {"use_dora": True, ".text_lora": "audio_gated"},
    "LoftQ": {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}},
    "EVA": {"init_lora_weights": "eva"},
    "CorDA": {"init_lora_weights": "corda"},
    "aLoRA": {"alora_invocation_tokens": [1, 2]},
    "QALoRA": {"use_qalora": True},
    "layer_replication": {"layer_replication": [[0, 2]]},
}
REFUSED = list(ADAPTERS)[list(ADAPTERS).index("LoRA on lm_head, tied") :]
_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_WAVE = {**_SMALL, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_DECODED = {
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "vocab_size"), 64),
    **{"d_model": 32, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1},
}
_MOONSHINE = {
    "hidden_size": 32, "intermediate_size": 64, "vocab_size": 64,
    "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1,
    "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4,
}  # fmt: skip
_VOXTRAL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
# Model type, fields of its config, feature extractor, samples a frame; None where it is to be refused.
ENCODERS: dict[str, tuple[str, dict[str, Any], str | None, int]] = {
    "Whisper, 80 bands": ("whisper", _DECODED, "WhisperFeatureExtractor", 320),
    "Whisper, 128 bands (large-v3)": ("whisper", {**_DECODED, "num_mel_bins": 128}, "WhisperFeatureExtractor", 320),
    "Voxtral": ("voxtral_encoder", {**_VOXTRAL, "num_mel_bins": 128}, "WhisperFeatureExtractor", 320),
    "wav2vec 2.0 base": ("wav2vec2", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "wav2vec 2.0 large, XLS-R": (
        "wav2vec2", {**_WAVE, "feat_extract_norm": "layer", "do_stable_layer_norm": True},
        "Wav2Vec2FeatureExtractor", 320,
    ),
    "HuBERT": ("hubert", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "WavLM": ("wavlm", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "UniSpeech": ("unispeech", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "UniSpeech-SAT": ("unispeech-sat", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "data2vec": ("data2vec-audio", {**_WAVE, "conv_pos_kernel_size": 5}, "Wav2Vec2FeatureExtractor", 320),
    "w2v-BERT 2.0": (
        "wav2vec2-bert", {**_SMALL, "feature_projection_input_dim": 160}, "SeamlessM4TFeatureExtractor", 320,
    ),
    "Parakeet (Hugging Face)": (
        "parakeet_encoder", {**_SMALL, "subsampling_conv_channels": 16}, "ParakeetFeatureExtractor", 1280,
    ),
    "Moonshine": ("moonshine", _MOONSHINE, "Wav2Vec2FeatureExtractor", 384),
    "NeMo FastConformer, .nemo": ("nemo", {}, "nemo", 1280),
    "Speech2Text": ("speech_to_text", {**_DECODED, "num_mel_bins": 80}, None, 0),
    "wav2vec 2.0 Conformer": ("wav2vec2-conformer", _WAVE, None, 0),
    "Audio Spectrogram Transformer": ("audio-spectrogram-transformer", _SMALL, None, 0),
}  # fmt: skip


def tokenizer() -> Any:
    """A byte-level tokenizer of ours with ChatML's special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=letters, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=SPECIALS[0], eos_token=SPECIALS[2], pad_token=SPECIALS[0]
    )


def llm(folder: Path, family: str = "qwen2", **fields: Any) -> Path:
    """A folder with a random LLM whose matrices are large enough for each of them to matter."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tok = tokenizer()
    sizes = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "vocab_size": len(tok) + 8,
    }  # fmt: skip
    if family == "qwen3_moe":
        sizes |= {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    ids = {"bos_token_id": tok.bos_token_id, "eos_token_id": tok.eos_token_id, "pad_token_id": tok.pad_token_id}
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes, **ids, **fields))
    enlarge(made, 4.0)
    made.save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


@torch.no_grad()
def enlarge(module: torch.nn.Module, by: float) -> None:
    """Random weights of trained models' size would hardly change what goes through."""
    for parameter in module.parameters():
        if parameter.dim() >= 2:
            parameter.mul_(by)
        elif parameter.dim() == 1:
            parameter.add_(torch.randn_like(parameter) * 0.05)


def encoder(folder: Path, name: str) -> Path:
    """A folder (or ``.nemo`` file) with a random speech encoder and its feature extractor."""
    import transformers

    kind, fields, extractor, _ = ENCODERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if kind == "nemo":
        return nemo_asr(folder)
    config = transformers.AutoConfig.for_model(kind, **fields)
    voxtral = kind == "voxtral_encoder"
    made = transformers.VoxtralEncoder(config) if voxtral else transformers.AutoModel.from_config(config)
    enlarge(made, 3.0)
    made.save_pretrained(folder)
    if extractor:
        bands = {"feature_size": fields["num_mel_bins"]} if "num_mel_bins" in fields and "Whisper" in extractor else {}
        getattr(transformers, extractor)(**bands).save_pretrained(folder)
    return folder


def nemo_asr(folder: Path, layers: int = 2) -> Path:
    """A ``.nemo`` file with a random FastConformer-CTC."""
    from nemo.collections.asr.models import EncDecCTCModel
    from omegaconf import OmegaConf

    module = "nemo.collections.asr.modules"
    cfg = {
        "sample_rate": 16000,
        "preprocessor": {
            "_target_": f"{module}.AudioToMelSpectrogramPreprocessor", "features": 80, "normalize": "per_feature",
            "window_size": 0.025, "n_fft": 512, "dither": 0.0, "pad_to": 0,
        },
        "encoder": {
            "_target_": f"{module}.ConformerEncoder", "feat_in": 80, "n_layers": layers, "d_model": 32, "n_heads": 4,
            "subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": 16,
        },
        "decoder": {"_target_": f"{module}.ConvASRDecoder", "feat_in": 32, "num_classes": 1, "vocabulary": ["a"]},
    }  # fmt: skip
    EncDecCTCModel(OmegaConf.create(cfg)).save_to(str(folder / "asr.nemo"))
    return folder / "asr.nemo"


def section(llm_folder: Path, encoder_path: Path, kind: str = "whisper", **more: Any) -> dict[str, Any]:
    """A section ``model`` over those folders."""
    ours = "nemo_vtb.modules.whisper.Whisper" if kind in ("whisper", "voxtral_encoder") else None
    ours = ours or "nemo_vtb.modules.encoders.hugging_face.Speech"
    encode = {"preprocessor": {"_target_": f"{ours}Features"}, "encoder": {"_target_": f"{ours}Encoder"}}
    if kind == "nemo":
        encode = {"preprocessor": {}, "encoder": {}}
    adapter = {
        "_target_": "nemo_vtb.modules.adapter.ConformerAdapter", "d_model": 32, "n_layers": 1, "n_heads": 4,
        "dropout": 0.0, "dropout_att": 0.0,
    }  # fmt: skip
    return {
        "pretrained_llm": str(llm_folder),
        "pretrained_asr": str(encoder_path),
        "prompt_format": "chatml",
        "audio_locator_tag": TAG,
        "freeze_params": [r"^llm\..+$", r"^embed_tokens\..+$", r"^perception\.encoder\..+$"],
        "lora": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
        "perception": {**encode, "modality_adapter": adapter},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 3e-3},
        **more,
    }


def build(cfg: dict[str, Any]) -> Any:
    """The model, in evaluation mode."""
    from nemo_vtb import VoiceTextBlender

    torch.manual_seed(0)
    return VoiceTextBlender(copy.deepcopy(cfg)).eval()


def losses(model: Any, chats: Any = (*CHATS, SPOKEN), grad: bool = False) -> torch.Tensor:
    """Losses of all supervised tokens of a batch with one clip for each conversation that has the tag."""
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    clips = sum(chat == SPOKEN for chat in chats)
    audios = torch.randn(clips, 16000, generator=torch.Generator().manual_seed(0)) * 0.1 if clips else torch.zeros(0)
    batch = {
        "encoded": [encode_turns(list(chat), model.formatter) for chat in chats],
        "audios": audios,
        "audio_lens": torch.full((clips,), 16000) if clips else torch.zeros(0, dtype=torch.long),
    }
    with torch.set_grad_enabled(grad):
        return model.compute_losses(batch, *model.encode_clips(batch))[0]


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
    folder = llm(root / "llm", family, **fields)
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
    cfg = section(llm(root / "llm"), path, kind)
    if kind != "nemo":
        cfg["freeze_params"] = cfg["freeze_params"][:2]
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


def prove(prover: Callable[[str, Path], dict[str, Any]], name: str) -> dict[str, Any]:
    """A row in a folder of its own: ``proved``, ``refused`` with the sentence, or ``wrong``."""
    from nemo_vtb.errors import VTBError

    start = time.process_time()
    with tempfile.TemporaryDirectory(prefix="matrix_") as folder:
        try:
            row = prover(name, Path(folder))
            worst = max((v for v in row.values() if isinstance(v, float)), default=0.0)
            row["outcome"] = "proved" if worst < BOUND and name not in REFUSED else "wrong"
        except VTBError as error:
            expected = name in REFUSED or (name in ENCODERS and ENCODERS[name][2] is None)
            said = str(error).replace(folder, "FOLDER")
            row = {"outcome": "refused" if expected else "wrong", "said": said}
        except Exception as error:
            row = {"outcome": "wrong", "said": f"{type(error).__name__}: {error}"}
    row["seconds"] = round(time.process_time() - start, 1)
    return {"name": name, **row}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: largest differences, or the sentence of a refusal."""
    proved = [row for row in rows if row["outcome"] != "refused"]
    columns = [key for key in (proved[0] if proved else {}) if key not in ("name", "outcome", "said", "seconds")]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in proved:
        cells = [_cell(row.get(key)) for key in columns]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    lines += ["", "| refused | what is said |", "|---|---|"]
    lines += [
        f"| {row['name']} | {row['said'].replace('|', chr(92) + '|')} |" for row in rows if row["outcome"] == "refused"
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return "0" if value == 0 else f"{value:.0e}"
    return "refused" if isinstance(value, str) else "–"


def main() -> int:
    """Runs the matrix; 1 if a row is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="a file in which the tables are replaced")
    parser.add_argument("--only", action="append", help="a row's name; may be given more than once")
    args = parser.parse_args()
    found = {}
    for kind, names, prover in (("adapters", ADAPTERS, prove_adapter), ("encoders", ENCODERS, prove_encoder)):
        found[kind] = []
        for name in names:
            if args.only is None or name in args.only:
                row = prove(prover, name)
                found[kind].append(row)
                print(f"{kind[:-1]} {name}: {row['outcome']} {row.get('said', '')}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    if args.markdown:
        text = args.markdown.read_text()
        for kind, rows in found.items():
            mark = MARK.format(kind)
            before, _, after = text.partition(mark)
            text = f"{before}{mark}\n\n{table(rows)}\n\n{mark}{after.partition(mark)[2]}"
        args.markdown.write_text(text)
    return int(any(row["outcome"] == "wrong" for rows in found.values() for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
