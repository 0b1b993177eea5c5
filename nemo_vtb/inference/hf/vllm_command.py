"""The command that serves a folder of ``vtb export --to hf`` with vLLM."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# LoRA as PEFT has it, beside the weights, of models that keep it out of written requests.
LORA_DIR = "lora"
# Of vLLM's `--max-lora-rank`.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def vllm_command(folder: str, config: Mapping[str, Any]) -> str:
    """Writes the command.

    Other plugins are left out: the one of NeMo 3.0.0 registers the model type ``nemo_speechlm``, which Transformers has
    taken since, and ends every start of vLLM; ours registers NeMo's class too. Two LoRA slots: on a CPU, vLLM gives
    rows without LoRA the last one, which must be empty.

    Args:
        folder: The export.
        config: Its ``config.json``.
    """
    words = ["vllm", "serve", folder, "--chat-template-content-format", "openai"]
    if config.get("dtype") == "float32":
        # Else vLLM takes half precision for a model in float32.
        words += ["--dtype", "float32"]
    if config.get("text_lora") == "audio_gated":
        rank = next((rank for rank in _RANKS if rank >= config["lora"]["r"]), config["lora"]["r"])
        words += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", "2"]
        words += ["--default-mm-loras", json.dumps({"audio": f"{folder}/{LORA_DIR}"})]
    return f"VLLM_PLUGINS=nemo_vtb {shlex.join(words)}"


def vllm_command_of_card(folder: Path) -> str | None:
    """The command for an export, with ``FOLDER`` for its path; None where vLLM cannot serve it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    about = folder / "processor_config.json"
    # A merged folder has none: NeMo's class counts frames by itself.
    if about.exists():
        rule = json.loads(about.read_text(encoding="utf-8"))["frame_rule"]
        if "llm_config" not in config or rule is None:
            return None
    return vllm_command("FOLDER", config)
