"""An LLM as the judge of open answers, and how far it can be trusted.

Begin with ``judge``.
"""
