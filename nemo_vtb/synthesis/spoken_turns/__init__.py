"""``vtb synth speech``: text conversations with some sentences spoken.

Begin with ``run``.
"""
