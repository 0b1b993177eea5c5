"""``vtb synth reply``: an LLM's own replies to what recordings say. Begin with ``run``."""
