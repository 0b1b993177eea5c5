"""LoRA in an LLM or a speech encoder: put in, checked against what was asked, and brought into its plain form.

Begin with ``install``.
"""
