"""The LLM on megatron-core: tensor parallel, with sequence parallelism, and LoRA by PEFT on its fused matrices.

Begin with ``build``. Norms, masks, rotary angles, attention and the key/value cache are Hugging Face's own, handed to
megatron-core in a ``ModuleSpec`` (``spec``), so that a conversation means the same as in ``HFBackbone``; neither
Transformer Engine nor Apex is used. megatron-core is imported by who is asked for it and by nobody else.
"""
