"""What this machine computes fastest with: precision, attention, threads.

Begin with ``choice``, which decides; ``hardware`` looks and measures.
"""
