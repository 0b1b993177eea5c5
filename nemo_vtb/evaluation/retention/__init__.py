"""How much of the untouched LLM's text is left: the gate, in ``vtb eval`` and in training.

Begin with ``gate``; ``callback`` enforces it in a run.
"""
