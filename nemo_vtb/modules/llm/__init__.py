"""Any causal LLM of Transformers: where its parts are, what it does at its ends, what of it LoRA can adapt.

Begin with ``parts``.
"""
