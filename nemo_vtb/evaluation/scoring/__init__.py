"""Scores of answers and how sure they are.

Begin with ``metrics``; ``bootstrap`` puts intervals around them.
"""
