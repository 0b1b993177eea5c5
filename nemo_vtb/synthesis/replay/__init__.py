"""``vtb synth text``: conversations written by the LLM that is to be kept.

Begin with ``run``.
"""

from nemo_vtb.moved import names_of

__getattr__ = names_of("nemo_vtb.synthesis.replay", "nemo_vtb.synthesis.replay.run")
