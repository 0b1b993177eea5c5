"""Which conversation comes next: shares by kind, walked without repeats, resumable anywhere.

Begin with ``walk``; ``cursor`` is what a checkpoint keeps.
"""
