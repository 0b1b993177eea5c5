"""Optimizer and schedule of a run: built from the config, and what becomes of them when the run goes on.

Begin with ``build``; ``resume`` says what of a checkpoint must be the same.
"""
