"""``vtb synth text``: conversations written by the LLM that is to be kept.

Begin with ``run``.
"""
