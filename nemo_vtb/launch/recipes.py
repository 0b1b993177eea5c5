r"""NeMo-Run: ``nemo vtb train`` and the executor ``vtb_slurm``, found by the entry point ``nemo_run.cli``.

nemo vtb train --dryrun config=canary_gemma folder=/shared/runs/first \
    run.executor=vtb_slurm run.executor.account=me run.executor.nodes=8

NeMo-Run writes its own job script, which does not know when a run is finished: submit again to go on after a time
limit, or use ``vtb launch slurm``, whose script requeues itself. Needs ``pip install nemo-vtb[slurm]``: newer releases
of leptonai lack a module that NeMo-Run 0.11 imports.
"""

import shlex

import nemo_run as run

# What torchrun would set, from what Slurm gives to each task.
_RANK = """
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID GROUP_RANK=$SLURM_NODEID WORLD_SIZE=$SLURM_NTASKS
export TORCHELASTIC_RUN_ID=$SLURM_JOB_ID VTB_NODES=$SLURM_NNODES VTB_DEVICES=$((SLURM_NTASKS / SLURM_NNODES))
export VTB_RUN={folder} MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
note=$VTB_RUN/.address.$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}.${{SLURM_STEP_ID:-0}}
mkdir -p "$VTB_RUN"
if [ "$RANK" = 0 ]; then hostname >"$note.partial" && mv "$note.partial" "$note"; fi
until [ -s "$note" ]; do sleep 0.2; done
MASTER_ADDR=$(cat "$note")
export MASTER_ADDR
exec {command}
"""


def training(folder: str, command: list[str]) -> run.Script:
    """One rank of a training run.

    Args:
        folder: Of the run, which all nodes share.
        command: What each rank runs, e.g. ``["vtb", "train", "--config-name=canary_gemma", "+cluster=slurm"]`` or
            NeMo's launcher with ``+vtb@_global_=default +cluster=slurm``.
    """
    return run.Script(inline=_RANK.format(folder=shlex.quote(folder), command=shlex.join(command)))


@run.cli.factory
@run.autoconvert
def vtb_slurm(
    account: str = "",
    partition: str | None = None,
    nodes: int = 1,
    gpus_per_node: int | None = 8,
    time: str = "04:00:00",
    container_image: str | None = None,
) -> run.SlurmExecutor:
    """A Slurm job with one task per GPU that is told three minutes before its limit to save and leave."""
    return run.SlurmExecutor(
        account=account,
        partition=partition,
        nodes=nodes,
        ntasks_per_node=gpus_per_node or 1,
        gpus_per_node=gpus_per_node,
        time=time,
        signal="USR1@180",
        container_image=container_image,
        packager=run.Packager(),
    )


@run.cli.entrypoint(namespace="vtb", type="experiment")
def train(ctx: run.cli.RunContext, config: str, folder: str, overrides: list[str] | None = None) -> None:
    """Trains a config on the executor.

    Args:
        ctx: Of NeMo-Run.
        config: Its name, as for ``vtb train --config-name``.
        folder: Of the run, which all nodes share.
        overrides: Hydra overrides.
    """
    command = ["vtb", "train", f"--config-name={config}", "+cluster=slurm", *(overrides or [])]
    with run.Experiment("vtb") as experiment:
        experiment.add(training(folder, command), executor=ctx.executor, name="train")
        ctx.launch(experiment)
