"""Public corpora from local copies to NeMo manifests: ``vtb data prepare``.

Begin with ``catalog``, which knows every corpus; ``lhotse_recipes`` and ``layouts`` read them, ``write`` writes.
"""
