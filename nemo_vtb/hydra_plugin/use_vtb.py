"""The Hydra job callback behind ``+vtb@_global_=default``: an unchanged NeMo launcher trains VoiceTextBlender."""

from collections.abc import Sequence
from typing import Any

from hydra.experimental.callback import Callback


class UseVTB(Callback):
    """Rebinds the launcher script's own three names before its task function runs.

    NeMo 3.0 launchers name their classes in code and have no registry for them; Hydra's ``on_job_start`` receives the
    task function, whose globals are the launcher's. NeMo's modules stay as they are.

    Args:
        names: Of the launcher's names, those to rebind: all three in a training launcher, ``SALM`` in one that
            generates (``vtb=eval``), none where NeMo's registries are all that is wanted (``vtb=stock``).
    """

    def __init__(self, names: Sequence[str] = ("SALM", "SALMDataset", "DataModule")) -> None:
        self._names = names

    def on_job_start(self, config: Any, *, task_function: Any, **kwargs: Any) -> None:
        """Registers nemo_vtb with the host, rebinds the names and looks at the switches of a training config.

        Raises:
            SystemExit: If anything goes wrong, e.g. the launcher lacks one of the names. Hydra turns every other
                exception of a callback into a warning, and stock SALM would be trained by mistake.
        """
        from nemo_vtb import registry
        from nemo_vtb.switches.check import check_run
        from nemo_vtb.switches.sweep import check_sweep

        try:
            registry.register()
            registry.rebind_launcher(task_function, self._names)
            if "DataModule" in self._names and "trainer" in config:
                check_sweep(config)
                check_run(config, of_launcher=True)
        except Exception as error:
            raise SystemExit(f"nemo_vtb: {error}") from error
