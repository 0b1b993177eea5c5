"""The sections ``trainer`` and ``exp_manager``: which switches of Lightning and NeMo a run takes, and in what spelling.

Begin with ``check``, which refuses before anything is loaded; ``build`` makes the trainer. ``tutorials/training.md``
has a table of them all.
"""
