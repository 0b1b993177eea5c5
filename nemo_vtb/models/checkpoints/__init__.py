"""What a checkpoint of the model is, on disk and in memory.

Begin with ``contents``; ``file`` writes one whole or not at all, ``slim`` is the folder that is given away.
"""
