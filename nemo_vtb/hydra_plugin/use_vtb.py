"""The Hydra job callback behind ``+vtb@_global_=default``: an unchanged NeMo launcher trains VoiceTextBlender."""

from typing import Any

from hydra.experimental.callback import Callback


class UseVTB(Callback):
    """Rebinds the launcher script's own three names before its task function runs.

    NeMo 3.0 launchers name their classes in code and have no registry for them; Hydra's ``on_job_start`` receives the
    task function, whose globals are the launcher's. NeMo's modules stay as they are.

    Args:
        classes: Whether to put our classes in; without, only what NeMo's registries take is there (``vtb=stock``).
    """

    def __init__(self, classes: bool = True) -> None:
        self._classes = classes

    def on_job_start(self, config: Any, *, task_function: Any, **kwargs: Any) -> None:
        """Registers nemo_vtb with the host and rebinds ``SALM``, ``SALMDataset`` and ``DataModule``.

        Raises:
            SystemExit: If anything goes wrong, e.g. the launcher lacks one of the names. Hydra turns every other
                exception of a callback into a warning, and stock SALM would be trained by mistake.
        """
        from nemo_vtb import registry

        try:
            registry.register()
            if self._classes:
                registry.rebind_launcher(task_function)
        except Exception as error:
            raise SystemExit(f"nemo_vtb: {error}") from error
