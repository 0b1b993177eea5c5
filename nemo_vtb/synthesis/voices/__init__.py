"""Text to speech: engines behind one interface, what can be spoken, and whether it was understood.

Begin with ``tts``; ``studio`` records a sentence and lets ``round_trip`` hear it.
"""
