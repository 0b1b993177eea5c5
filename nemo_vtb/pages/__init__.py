"""Every HTML page a person reads: one file each that needs nothing beside it.

Begin with ``quickstart``; ``charts``, ``tiles`` and ``samples`` are what the pages share.
"""
