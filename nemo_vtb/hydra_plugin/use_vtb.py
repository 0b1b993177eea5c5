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
                _check_callbacks(config)
                check_run(config, of_launcher=True)
        except Exception as error:
            raise SystemExit(f"nemo_vtb: {error}") from error


def _check_callbacks(config: Any) -> None:
    """Refuses to lose callbacks to ``+cluster=...``: the launcher has its config already, which ``vtb train`` mends.

    Raises:
        VTBError: Names them and the remedy.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from nemo_vtb.config import without_cluster
    from nemo_vtb.errors import VTBError

    chosen = HydraConfig.get()
    without = without_cluster(chosen.overrides.task)
    if without is None:
        return
    loader = GlobalHydra.instance().config_loader()
    before = loader.load_configuration(chosen.job.config_name, without, RunMode.RUN)
    own, there = (
        [str(callback.get("_target_")) for callback in OmegaConf.select(one, "trainer.callbacks") or () if callback]
        for one in (before, config)
    )
    if lost := [name.rpartition(".")[2] for name in own if name not in there]:
        raise VTBError(
            f"+cluster=... takes the place of the config's own trainer.callbacks, and {', '.join(lost)} would be lost: "
            "add nemo_vtb.callbacks.last_checkpoint.LastCheckpoint to those, and instead of +cluster=slurm write "
            "'cluster: slurm' into the config's defaults, in front of _self_"
        )
