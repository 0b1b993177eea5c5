"""How a model answers prompts that hold words and clips.

``generate`` answers, ``asked`` looks through what it was given, ``named_audio`` reads the clips that turns name, and
``heard`` keeps the frames of clips that come again.
"""
