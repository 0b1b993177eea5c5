"""What a checkpoint can do, beside its untouched LLM.

Begin with ``run``: it reads what to ask (``sets``), asks it (``ask``), scores it (``items``, ``scoring``,
``judging``) and makes the sections of ``eval.json`` (``sections``). ``retention`` measures text alone, in training
too.
"""
