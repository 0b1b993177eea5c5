"""A GGUF language model -> a Hugging Face folder with dense bfloat16 weights, tokenizer and chat template.

The weights keep the precision the GGUF quantised them to; they are unpacked so that LoRA, packing and export see
ordinary linear layers.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.assets.quiet import quiet_transformers
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from gguf import GGUFReader
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def convert_gguf(source: Path, folder: Path) -> None:
    """Writes the model and its tokenizer into ``folder``.

    Args:
        source: Folder with ``model.gguf``, of an architecture transformers can read.
        folder: An existing folder.

    Raises:
        VTBError: Some weight of the file has no place in the model, or some parameter got none.
    """
    path = source / "model.gguf"
    with quiet_transformers():
        import torch
        from gguf import GGUFReader
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        model, report = AutoModelForCausalLM.from_pretrained(
            str(source),
            gguf_file=path.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
        )
        reader = GGUFReader(path)
        _require_all_matched(path, reader, model, report)
        tokenizer = AutoTokenizer.from_pretrained(str(source), gguf_file=path.name)
        _restore_text_splitting(reader, tokenizer)
        # With these set, saving would describe the folder as a packed GGUF checkpoint.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _require_all_matched(path: Path, reader: "GGUFReader", model: "PreTrainedModel", report: dict[str, Any]) -> None:
    problems = {key: sorted(map(str, value)) for key, value in report.items() if value}
    in_file = sum(int(tensor.n_elements) for tensor in reader.tensors)
    in_model = sum(parameter.numel() for parameter in model.parameters())
    if problems or in_file != in_model:
        raise VTBError(
            f"{path} does not match {type(model).__name__}: {in_file} values in the file, {in_model} in the model"
            + "".join(f"; {key}: {', '.join(names)}" for key, names in problems.items())
        )


def _restore_text_splitting(reader: "GGUFReader", tokenizer: "PreTrainedTokenizerFast") -> None:
    """Splits text before BPE as the model's own tokenizer does.

    A GGUF names its splitting rule instead of carrying it. transformers 5.23 does not know SmolLM's (every digit on
    its own, which also keeps the white space before a number in one piece) and leaves out Qwen's NFC normalisation.
    """
    from tokenizers import normalizers, pre_tokenizers

    field = reader.fields.get("tokenizer.ggml.pre")
    rule = field.contents() if field else None
    if rule == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif rule == "qwen2":
        tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
