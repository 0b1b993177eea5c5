"""Arms trained alike but for one thing, measured, compared, with a verdict on each claim.

Begin with ``plan``, then ``claims``.
"""
