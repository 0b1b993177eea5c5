"""``vtb synth qa``: questions and answers about recordings, from their transcripts.

Begin with ``run``.
"""
