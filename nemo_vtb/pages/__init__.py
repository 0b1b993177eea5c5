"""Every HTML page a person reads: one file each that needs nothing beside it.

Begin with ``document`` and ``templates/base.html.jinja``. A page is a module that says what to show and a template of
its name that says where; ``templates/parts.html.jinja`` holds what pages share, ``charts`` draws.
"""
