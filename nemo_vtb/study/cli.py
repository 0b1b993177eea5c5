"""``vtb study``: the arms of a study trained and measured, then compared in a table, a page and plots."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb study``."""
    parser.add_argument("--config-name", default="study/quickstart", help="the study (default: study/quickstart)")
    parser.add_argument("--config-dir", help="your own folder of configs; the shipped groups stay available")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing of this part and, once all of it is there, compares."""
    from nemo_vtb.study.plan import read_study
    from nemo_vtb.study.run import run_study
    from nemo_vtb.training import compose

    study = read_study(compose(args.config_name, args.overrides, args.config_dir), args.config_dir)
    if not run_study(study):
        print(f"{sum(run.done for run in study.runs)} of {len(study.runs)} runs are in {study.out}")
    return 0
