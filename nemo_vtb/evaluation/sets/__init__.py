"""What is asked: held-out data, text suites with checks, scripted conversations, forms of mixed turns.

Begin with ``plan``, which reads them all from a config.
"""
