"""How much of the untouched LLM's text is left: the gate, in ``vtb eval`` and in training.

Begin with ``gate``; ``callback`` enforces it in a run.
"""

from nemo_vtb.moved import names_of

__getattr__ = names_of("nemo_vtb.evaluation.retention", "nemo_vtb.evaluation.retention.divergence")
