"""How a study is laid out before its first run and looked at on its way: its length, its seeds, its halfway marks.

Begin with ``length``, then ``power``; ``way`` keeps and measures a run's weights before its end.
"""
