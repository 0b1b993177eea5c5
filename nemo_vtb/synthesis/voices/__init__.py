"""Text to speech: engines behind one interface, what can be spoken, and whether it was understood.

Begin with ``tts``; ``studio`` records a sentence and lets ``round_trip`` hear it.
"""

from nemo_vtb.moved import names_of

__getattr__ = names_of("nemo_vtb.synthesis.voices", "nemo_vtb.synthesis.voices.light")
