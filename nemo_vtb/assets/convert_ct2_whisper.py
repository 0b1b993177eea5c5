"""A Whisper model in CTranslate2's format -> a Hugging Face Whisper folder, exact to the last bit of each weight.

CTranslate2 stacks the query, key and value projections of self-attention in one matrix, and key and value of
cross-attention in another; its key bias is zero, where Hugging Face has none.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_vtb.assets.quiet import quiet_transformers
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from transformers import GenerationConfig, WhisperConfig, WhisperTokenizerFast


_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


@dataclass(frozen=True)
class CT2File:
    """Contents of a model file.

    Attributes:
        spec: Name of the architecture, e.g. ``WhisperSpec``.
        variables: Arrays by name, such as ``encoder/layer_0/ffn/linear_0/weight``.
    """

    spec: str
    variables: dict[str, np.ndarray]


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.position)
        self.position += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        return self.block(self.number("H"))[:-1].decode("utf-8")

    def block(self, size: int) -> bytes:
        if self.position + size > len(self.data):
            raise struct.error("unexpected end of file")
        start, self.position = self.position, self.position + size
        return self.data[start : self.position]

    def array(self) -> np.ndarray:
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype = _DTYPES[self.number("B")]
        return np.frombuffer(self.block(self.number("I")), dtype).reshape(shape)


def read_ct2_file(path: Path) -> CT2File:
    """Reads a ``model.bin``.

    Raises:
        VTBError: The file is truncated or not in this layout.
    """
    cursor = _Cursor(path.read_bytes())
    try:
        cursor.number("I")
        spec = cursor.text()
        cursor.number("I")
        variables = {}
        for _ in range(cursor.number("I")):
            name = cursor.text()
            variables[name] = cursor.array()
        for _ in range(cursor.number("I")):
            cursor.text(), cursor.text()
    except (struct.error, KeyError, ValueError) as error:
        raise VTBError(f"{path} is not a complete CTranslate2 model file: {error}") from error
    if cursor.position != len(cursor.data):
        raise VTBError(f"{path}: {len(cursor.data) - cursor.position} bytes left over after the last variable")
    return CT2File(spec, variables)


Arrays = dict[str, np.ndarray]

# Whisper's own test: English-only vocabularies have one token less.
_MULTILINGUAL_VOCABULARY = 51_865

# Variables that describe the network instead of being weights; Whisper's own are the same for all sizes.
_SETTINGS: tuple[str, ...] = (
    "activation",
    "alibi",
    "alignment_heads",
    "alignment_layer",
    "num_heads",
    "pre_norm",
    "scale_embeddings",
)
_SETTINGS += ("start_from_zero_embedding",)


def convert_ct2_whisper(source: Path, folder: Path) -> None:
    """Writes model, tokenizer, feature extractor and generation config into ``folder``.

    Args:
        source: Folder with CTranslate2's ``model.bin`` (float16 or float32), its ``config.json``, and the model's
            ``tokenizer.json``.
        folder: An existing folder; the weights are stored in float32.

    Raises:
        VTBError: The file is no float Whisper model, or its weights and the Hugging Face model's do not match
            one to one.
    """
    path = source / "model.bin"
    model_file = read_ct2_file(path)
    if model_file.spec != "WhisperSpec":
        raise VTBError(f"{path} holds a {model_file.spec}, not a Whisper model")
    weights = _hugging_face_weights(model_file.variables, path)
    with quiet_transformers():
        import torch
        from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

        tokenizer = WhisperTokenizerFast(tokenizer_file=str(source / "tokenizer.json"))
        config = _model_config(model_file.variables, tokenizer)
        model = WhisperForConditionalGeneration(config)
        state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in weights.items()}
        missing = sorted(set(model.state_dict()) - {"proj_out.weight"} - set(state))
        unexpected = sorted(set(state) - set(model.state_dict()))
        if missing or unexpected:
            raise VTBError(f"{path} does not match Whisper: missing {missing}, unexpected {unexpected}")
        model.load_state_dict({**state, "proj_out.weight": state["model.decoder.embed_tokens.weight"]})
        exported = json.loads((source / "config.json").read_text(encoding="utf-8"))
        model.generation_config = _generation_config(config, exported, tokenizer)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)


def _hugging_face_weights(variables: Arrays, path: Path) -> Arrays:
    """Renames and unstacks the weights; every variable is used exactly once."""
    left = {name: value for name, value in variables.items() if name.rpartition("/")[2] not in _SETTINGS}
    weights: Arrays = {}

    def take(name: str) -> np.ndarray:
        if name not in left:
            raise VTBError(f"{path} does not match Whisper: missing {name}")
        if left[name].dtype.kind != "f":
            raise VTBError(f"{path}: {name} is {left[name].dtype}; only float weights convert without loss")
        return left.pop(name)

    def norm(source: str, target: str) -> None:
        weights[f"{target}.weight"] = take(f"{source}/gamma")
        weights[f"{target}.bias"] = take(f"{source}/beta")

    def linear(source: str, *targets: str) -> None:
        parts = len(targets)
        kernels, biases = np.split(take(f"{source}/weight"), parts), np.split(take(f"{source}/bias"), parts)
        for target, kernel, bias in zip(targets, kernels, biases, strict=True):
            weights[f"{target}.weight"] = kernel
            if not target.endswith("k_proj"):
                weights[f"{target}.bias"] = bias
            elif bias.any():
                raise VTBError(f"{path}: {source} has a key bias, which Hugging Face's Whisper cannot hold")

    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            weights[f"model.encoder.{conv}.{part}"] = take(f"encoder/{conv}/{part}")
    weights["model.decoder.embed_tokens.weight"] = take("decoder/embeddings/weight")
    for side in ("encoder", "decoder"):
        weights[f"model.{side}.embed_positions.weight"] = take(f"{side}/position_encodings/encodings")
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(_layers(variables, side)):
            source, target = f"{side}/layer_{layer}", f"model.{side}.layers.{layer}"
            norm(f"{source}/self_attention/layer_norm", f"{target}.self_attn_layer_norm")
            linear(f"{source}/self_attention/linear_0", *(f"{target}.self_attn.{p}_proj" for p in "qkv"))
            linear(f"{source}/self_attention/linear_1", f"{target}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{source}/attention/layer_norm", f"{target}.encoder_attn_layer_norm")
                linear(f"{source}/attention/linear_0", f"{target}.encoder_attn.q_proj")
                linear(f"{source}/attention/linear_1", *(f"{target}.encoder_attn.{p}_proj" for p in "kv"))
                linear(f"{source}/attention/linear_2", f"{target}.encoder_attn.out_proj")
            norm(f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
            linear(f"{source}/ffn/linear_0", f"{target}.fc1")
            linear(f"{source}/ffn/linear_1", f"{target}.fc2")
    if left:
        raise VTBError(f"{path} does not match Whisper: unexpected {sorted(left)}")
    return weights


def _layers(variables: Arrays, side: str) -> int:
    return len({name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_") and name.count("/") > 2})


def _model_config(variables: Arrays, tokenizer: "WhisperTokenizerFast") -> "WhisperConfig":
    from transformers import WhisperConfig

    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    shape = {name: variables[name].shape for name in variables}
    return WhisperConfig(
        vocab_size=shape["decoder/embeddings/weight"][0],
        d_model=shape["decoder/embeddings/weight"][1],
        num_mel_bins=shape["encoder/conv1/weight"][1],
        encoder_layers=_layers(variables, "encoder"),
        decoder_layers=_layers(variables, "decoder"),
        encoder_attention_heads=int(variables["encoder/num_heads"]),
        decoder_attention_heads=int(variables["decoder/num_heads"]),
        encoder_ffn_dim=shape["encoder/layer_0/ffn/linear_0/bias"][0],
        decoder_ffn_dim=shape["decoder/layer_0/ffn/linear_0/bias"][0],
        max_source_positions=shape["encoder/position_encodings/encodings"][0],
        max_target_positions=shape["decoder/position_encodings/encodings"][0],
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("<|startoftranscript|>"),
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )


def _generation_config(
    config: "WhisperConfig", exported: dict[str, Any], tokenizer: "WhisperTokenizerFast"
) -> "GenerationConfig":
    """Generation settings; English-only models have neither language nor task tokens to choose from."""
    from transformers import GenerationConfig

    ids = tokenizer.convert_tokens_to_ids
    multilingual = config.vocab_size >= _MULTILINGUAL_VOCABULARY
    settings: dict[str, Any] = {}
    if multilingual:
        settings["lang_to_id"] = {tokenizer.convert_ids_to_tokens(number): number for number in exported["lang_ids"]}
        settings["task_to_id"] = {task: ids(f"<|{task}|>") for task in ("transcribe", "translate")}
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        prev_sot_token_id=ids("<|startofprev|>"),
        no_timestamps_token_id=ids("<|notimestamps|>"),
        suppress_tokens=exported["suppress_ids"],
        begin_suppress_tokens=exported["suppress_ids_begin"],
        alignment_heads=exported["alignment_heads"],
        max_length=config.max_target_positions,
        is_multilingual=multilingual,
        return_timestamps=False,
        **settings,
    )
