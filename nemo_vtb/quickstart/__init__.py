"""Train, measure and report on a laptop.

Begin with ``run``.
"""
