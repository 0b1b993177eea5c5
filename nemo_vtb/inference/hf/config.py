"""The ``config.json`` of an exported folder as Transformers reads it."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

MODEL_TYPE = "voice_text_blender"
ARCHITECTURE = "VoiceTextBlenderForConditionalGeneration"


class VoiceTextBlenderConfig(PretrainedConfig):
    """The section ``model`` with the LLM's own config in it.

    Args:
        llm_config: Fields of the LLM's config, ``model_type`` among them.
        **section: The other keys of the section, and those that every config has.

    Attributes:
        text_config: The LLM's config.
    """

    model_type = MODEL_TYPE

    def __init__(self, llm_config: dict[str, Any] | None = None, **section: Any) -> None:
        # Looked at by the base class already.
        self.text_config = AutoConfig.for_model(**llm_config) if llm_config else PretrainedConfig()
        section.pop("text_config", None)
        if section.get("attn_implementation") == "auto":  # of a folder that was written before this was left out
            section.pop("attn_implementation")
        super().__init__(**section)

    def get_text_config(self, *args: Any, **kwargs: Any) -> PretrainedConfig:
        """The LLM's config."""
        return self.text_config

    def section(self) -> dict[str, Any]:
        """The section ``model``, as ``VoiceTextBlender`` takes it."""
        from dataclasses import fields

        from nemo_vtb.models.options import ModelSection, StepOptions

        known = {field.name for kind in (ModelSection, StepOptions) for field in fields(kind)}
        return {key: value for key, value in self.to_dict().items() if key in known}

    def to_dict(self) -> dict[str, Any]:
        """Everything that ``config.json`` holds."""
        held = super().to_dict()
        held.pop("text_config", None)
        if self.text_config.model_type:
            held["llm_config"] = llm_fields(self.text_config)
        return held


def llm_fields(config: PretrainedConfig) -> dict[str, Any]:
    """The fields of an LLM's config from which ``AutoConfig.for_model`` makes it again."""
    left_out = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "quantization_config")
    fields = {key: value for key, value in config.to_diff_dict().items() if key not in left_out}
    return {**fields, "model_type": config.model_type}
