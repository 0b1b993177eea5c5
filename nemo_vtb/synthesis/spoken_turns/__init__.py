"""``vtb synth speech``: text conversations with some sentences spoken.

Begin with ``run``.
"""

from nemo_vtb.moved import names_of

__getattr__ = names_of("nemo_vtb.synthesis.spoken_turns", "nemo_vtb.synthesis.spoken_turns.run")
