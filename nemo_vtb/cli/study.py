"""``vtb study``: the arms of a study trained and measured, then compared in a table, a page and plots."""

import argparse

from nemo_vtb.cli.arguments import add_config_arguments, command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb study``."""
    add_config_arguments(parser, "study/quickstart", "the study")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing of this part and, once all of every part is there, compares."""
    from nemo_vtb.config import compose
    from nemo_vtb.study.claims import check_claims
    from nemo_vtb.study.compare import compare
    from nemo_vtb.study.plan import read_study
    from nemo_vtb.study.run import check_runs, run_study
    from nemo_vtb.study.table import table_lines

    study = read_study(compose(args.config_name, args.overrides, args.config_dir), args.config_dir)
    check_claims(study.claims, list(study.arms))
    if not all(run.done for run in study.runs):
        check_runs(study)
    if not run_study(study):
        done = sum(run.done for run in study.runs)
        print(f"{done} of {len(study.runs)} runs are in {study.out}; whoever finishes the last one compares")
        return 0
    report = compare(study, command_line())
    print("\n".join(table_lines(report)))
    print(f"\n{study.out / 'study.html'}")
    return 0
