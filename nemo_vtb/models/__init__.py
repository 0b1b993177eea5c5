"""The model, and what happens to it before its first step.

Begin with ``voice_text_blender``; ``prepare`` casts and shards it, ``generate`` answers, ``load`` brings one back from
the room ``checkpoints``.
"""
