"""Public benchmarks, read from local copies in their published layout.

Begin with ``catalog``: which benchmarks there are; ``layouts`` reads their files, ``rules`` and its neighbours score.
"""
