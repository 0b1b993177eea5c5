"""LoRA where it was in training: vLLM loads it for requests with a recording, and for no others.

vLLM's ``--default-mm-loras`` does so for ``audio_url`` in chat completions alone: not for ``input_audio``, not for
transcriptions, and a client that asks for the model ``audio`` gets LoRA on written words. So what LoRA a request has is
settled here, on the way to the engine.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from vllm.config import VllmConfig
from vllm.exceptions import VLLMValidationError
from vllm.lora.request import LoRARequest
from vllm.model_executor.models.config import VerifyAndUpdateConfig
from vllm.platforms import current_platform

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.hf.vllm_command import vllm_command


class GateCheck(VerifyAndUpdateConfig):
    """What vLLM asks before it starts an engine."""

    @staticmethod
    def verify_and_update_config(vllm_config: VllmConfig) -> None:
        """Looks whether LoRA is set up as the model needs it.

        Raises:
            VTBError: With the command that does.
        """
        model, lora = vllm_config.model_config, vllm_config.lora_config
        if not _gated(vllm_config):
            return
        wrong = None
        if lora is None or set(lora.default_mm_loras or ()) != {"audio"}:
            wrong = "vLLM must load its LoRA for requests with a recording"
        elif current_platform.is_cpu() and lora.max_loras < 2:
            wrong = "on a CPU, vLLM lets LoRA into written requests unless there is a second, empty slot for it"
        if wrong:
            command = vllm_command(str(model.model), model.hf_config.to_dict())
            raise VTBError(f"text_lora of this model is audio_gated: {wrong}. Start it with: {command}")


def gated(process_inputs: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``InputProcessor.process_inputs``, through which every request goes to the engine."""
    signature = inspect.signature(process_inputs)

    @functools.wraps(process_inputs)
    def processed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _gated(self.vllm_config):
            return process_inputs(self, *args, **kwargs)
        call = signature.bind(self, *args, **kwargs)
        asked = call.arguments.get("lora_request")
        call.arguments["lora_request"] = _lora_of(self.vllm_config, call.arguments["prompt"], asked)
        return process_inputs(*call.args, **call.kwargs)

    return processed


def _lora_of(config: VllmConfig, prompt: Any, asked: LoRARequest | None) -> LoRARequest | None:
    # The number that vLLM gives the first LoRA it is told of.
    own = LoRARequest("audio", 1, config.lora_config.default_mm_loras["audio"])
    if asked is not None and (asked.lora_path, asked.lora_int_id) != (own.lora_path, own.lora_int_id):
        # Of ValueErrors raised here, on the way to the engine, vLLM makes a 500 without the words.
        said = f"LoRA {asked.lora_name}: this model takes no other LoRA than its own"
        raise VLLMValidationError(said, parameter="model")
    heard = isinstance(prompt, dict) and (prompt.get("type") == "multimodal" or "multi_modal_data" in prompt)
    return own if heard else None


def _gated(config: VllmConfig) -> bool:
    return getattr(config.model_config.hf_config, "text_lora", None) == "audio_gated"
