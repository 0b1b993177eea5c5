"""Answering with random weights on a device: ``answering.py``'s three ways, in one run."""

import tempfile
from pathlib import Path
from typing import Any

# Clips, seconds of each, and how often each way is taken.
_SIZES = {"tiny": (2, 0.5, 1), "gemma2b": (48, 6.0, 3)}
_RATE = 16000


def measure(shape: str, device: str) -> dict[str, Any]:
    """As ``answering.compared``, with the shape's model.

    Answers of random weights are words without sense, and in bfloat16 those of batches of other sizes part early:
    how many are the same is said, and means something in float32 alone.
    """
    import answering

    from nemo_vtb.models.prepare import compute_in

    clips, seconds, times = _SIZES[shape]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, precision = _model(shape, folder, device)
        compute_in(model, precision)
        tasks = answering.tasks_of(
            [_tone(folder / f"{number}.wav", number, seconds) for number in range(clips)],
            model.audio_locator_tag,
            {"asr": _words(0), "sqa": _words(6)},
            [_words(number) for number in range(10, 10 + clips)],
        )
        return {"precision": precision} | answering.compared(model, tasks, times)


def _model(shape: str, folder: Path, device: str) -> tuple[Any, str]:
    import torch
    from step_arm import precision_of
    from step_models import model_section

    from nemo_vtb import VoiceTextBlender

    section = model_section(shape, folder)
    _write_tokenizer(folder)
    torch.manual_seed(0)
    model = VoiceTextBlender({**section, "text_lora": "audio_gated", "llm_dtype": "auto"})
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:  # zero at the start of training, when LoRA does nothing
                weights.normal_(0, 0.02)
    return model.to(device).eval(), precision_of(device)


def _write_tokenizer(folder: Path) -> None:
    """A word for every id of the LLM, so that its answers can be written."""
    import json

    from step_mix import AUDIO_TAG
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    size = json.loads((folder / "llm" / "config.json").read_text())["vocab_size"]
    words = ["<pad>", "<unk>", "<|im_start|>", "<|im_end|>", AUDIO_TAG]
    words += [f"w{number}" for number in range(len(words), size)]
    written = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    written.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=written,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", AUDIO_TAG],
    ).save_pretrained(folder / "tokenizer")


def _words(first: int) -> str:
    return " ".join(f"w{number}" for number in range(first + 5, first + 11))


def _tone(path: Path, number: int, seconds: float) -> Path:
    import numpy as np
    import soundfile

    at = np.arange(int(_RATE * seconds)) / _RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 20 * number) * at), _RATE)
    return path
