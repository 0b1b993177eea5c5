"""Parts with parameters: encoder, adapter, LLM backbone, LoRA's gate.

Begin with ``backbone`` and ``clip_encoder``; ``build`` makes them from a config.
"""
