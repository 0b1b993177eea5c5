"""LLMs that write, for makers of data and judges: a server that speaks OpenAI's protocol, or Hugging Face.

Begin with ``interface``; ``choose`` reads the section ``llm`` of a config.
"""
