"""The model, and what a checkpoint of it is.

Begin with ``voice_text_blender``; ``prepare`` casts and shards it, ``checkpoint`` says what is kept, ``generate``
answers.
"""
