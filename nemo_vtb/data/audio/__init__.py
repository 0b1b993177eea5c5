"""What a recording is: header, samples, where clips lie, what may be done to them.

Begin with ``audio_stores``; ``headers`` and ``decode`` say what a file is, whatever a row claims.
"""
