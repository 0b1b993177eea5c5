"""Files as they lie on disk: rows of JSON, clips in folders and tars, what can be wrong with them.

Begin with ``rows``; ``audio_stores`` says where the clips of a file of rows are.
"""
