"""Checking config sections for keys nobody reads, and resolving `???` before anything heavy is built."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from nemo_vtb.errors import VTBError

MODEL_KEYS = frozenset(
    # SALM's own
    "pretrained_llm pretrained_asr pretrained_weights tokenizer_path trust_remote_code freeze_params "
    "prevent_freeze_params prompt_format audio_locator_tag perception lora optimizer lr_scheduler "
    "encoder_chunk_size_seconds pretrained_s2s_model pretrained_perception_from_s2s use_nemo_automodel "
    "torch_dtype "
    # ours
    "llm_config llm_dtype row_tokens loss_chunk encoder_cache lr_scale alignment".split()
)
REQUIRED_MODEL_KEYS = ("pretrained_llm", "prompt_format", "audio_locator_tag", "perception", "optimizer")


def check_keys(section: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuses keys that nothing reads.

    Raises:
        VTBError: Names the key with its path, and the closest known key.
    """
    known = sorted(known)
    for key in section:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known keys: {', '.join(known)}"
            raise VTBError(f"unknown config key {where}.{key}{hint}")


def check_model_section(section: Mapping[str, Any]) -> None:
    """Refuses a ``model`` section with unknown or missing keys.

    Raises:
        VTBError: Names the key.
    """
    check_keys(section, MODEL_KEYS, "model")
    for key in REQUIRED_MODEL_KEYS:
        if section.get(key) is None or section.get(key) == "???":
            raise VTBError(f"missing config key model.{key}")
    if section.get("use_nemo_automodel"):
        raise VTBError("model.use_nemo_automodel=true is not supported: VoiceTextBlender runs the Hugging Face LLM")
