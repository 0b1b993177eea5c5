"""Ways to spread a model over ranks that Lightning does not have.

Begin with ``sharded``.
"""
