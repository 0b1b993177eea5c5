"""``vtb doctor``: the installation, what the machine can use, and what a config would run with."""

import argparse
from pathlib import Path

from nemo_vtb.cli.arguments import add_config_arguments
from nemo_vtb.errors import VTBError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb doctor``."""
    add_config_arguments(parser, "", "say what this config would run with here")
    parser.add_argument("--memory", action="store_true", help="with --config-name: what it takes of one GPU")
    parser.add_argument("--launcher", metavar="FILE", help="a NeMo launcher script to check")
    parser.add_argument("--slurm", metavar="FOLDER", help="check the cluster and a folder that its nodes share")


def run(args: argparse.Namespace) -> int:
    """Prints a line for each finding; returns 1 where something is wrong, else 0."""
    from nemo_vtb.doctor import config_lines, doctor, memory_lines

    if not args.config_name:
        if args.memory:
            raise VTBError("--memory needs the config whose model it is about: --config-name NAME")
        if args.overrides:
            raise VTBError(f"{' '.join(args.overrides)}: overrides need the config they change: --config-name NAME")
    wrong = 0
    if args.slurm:
        from nemo_vtb.launch.cluster_check import check_cluster

        wrong |= check_cluster(Path(args.slurm).absolute())
    if args.launcher or not (args.slurm or args.config_name):
        wrong |= doctor(args.launcher)
    if not args.config_name:
        return wrong
    from nemo.utils import logging

    from nemo_vtb.config import compose

    # What is registered with NeMo on the way would stand among the lines.
    logging.setLevel(logging.WARNING)
    lines = memory_lines if args.memory else config_lines
    for line in lines(compose(args.config_name, args.overrides, args.config_dir)):
        print(line)
    return wrong
