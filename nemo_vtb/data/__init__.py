"""From files of other people to batches: files -> audio -> conversations -> sources -> blend -> loader.

Begin with ``datamodule``, which NeMo's launchers see; ``dataset`` makes a batch, the room ``inspection`` shows what is
in the data before anything is trained.
"""
