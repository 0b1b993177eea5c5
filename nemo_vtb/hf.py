"""Exported models in Transformers: ``import nemo_vtb.hf`` makes its Auto classes and pipelines know them.

Example:
    >>> import nemo_vtb.hf
    >>> from transformers import AutoModelForMultimodalLM, AutoProcessor
    >>> processor = AutoProcessor.from_pretrained("exported/hf")
    >>> model = AutoModelForMultimodalLM.from_pretrained("exported/hf")
    >>> asked = [{"type": "text", "text": "What is said here?"}, {"type": "audio", "path": "question.wav"}]
    >>> inputs = processor.apply_chat_template([{"role": "user", "content": asked}], tokenize=True)
    >>> answer = model.generate(**inputs, max_new_tokens=64)[:, inputs["input_ids"].shape[1] :]
    >>> print(processor.batch_decode(answer, skip_special_tokens=True)[0])
"""

from nemo_vtb import registry
from nemo_vtb.inference.hf.config import VoiceTextBlenderConfig
from nemo_vtb.inference.hf.model import VoiceTextBlenderForConditionalGeneration
from nemo_vtb.inference.hf.processor import VoiceTextBlenderProcessor

__all__ = ["VoiceTextBlenderConfig", "VoiceTextBlenderForConditionalGeneration", "VoiceTextBlenderProcessor"]

registry.register_with_transformers()
