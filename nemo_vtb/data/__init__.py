"""From files of other people to batches: files -> conversations -> sources -> blend -> loader.

Begin with ``datamodule``, which NeMo's launchers see; ``dataset`` makes a batch, ``lint``, ``preview`` and ``report``
show what is in the data before anything is trained.
"""
