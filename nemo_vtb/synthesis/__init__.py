"""Making the data: conversations by an LLM, questions about recordings, spoken turns.

Begin with a maker's ``run`` (``replay``, ``qa``, ``spoken_turns``); ``jobs`` is the engine they share, ``voices``
speaks.
"""
