"""Prompt formats beside NeMo's: ChatML with a system role, and the tokenizer's own template.

Begin with ``formats``, which opens the tokenizer and the format of a ``model`` section.
"""
