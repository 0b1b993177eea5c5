"""``vtb study``: the arms of a study trained and measured, then compared in a table, a page and plots."""

import argparse
import json
from typing import TYPE_CHECKING

from nemo_vtb.cli.arguments import add_config_arguments, command_line

if TYPE_CHECKING:
    from nemo_vtb.study.plan import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb study``."""
    before = parser.add_mutually_exclusive_group()
    before.add_argument(
        "--length",
        action="store_true",
        help="first of all: train one run until its speech curve is flat, and write how long the arms train",
    )
    before.add_argument(
        "--power", action="store_true", help="from the finished runs: how many seeds each claim needs to be found"
    )
    before.add_argument("--so-far", action="store_true", help="compare the finished runs and start no other")
    add_config_arguments(parser, "study/quickstart", "the study")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing of this part and, once all of every part is there, compares."""
    from nemo_vtb.config import compose
    from nemo_vtb.study.claims import check_claims
    from nemo_vtb.study.compare import compare
    from nemo_vtb.study.plan import read_study
    from nemo_vtb.study.run import check_made, check_runs, run_study
    from nemo_vtb.study.table import table_lines

    cfg = compose(args.config_name, args.overrides, args.config_dir)
    if args.length:
        return _length(args)
    study = read_study(cfg, args.config_dir)
    check_claims(study.claims, list(study.arms))
    if args.power or args.so_far:
        check_made(study, compared=True)
    if args.power:
        return _power(study)
    if not args.so_far:
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


def _length(args: argparse.Namespace) -> int:
    """Finds how long the arms train, from the speech curve of one run alone."""
    import os

    from omegaconf import OmegaConf

    from nemo_vtb.config import compose
    from nemo_vtb.study.design.length import choose_length, length_overrides
    from nemo_vtb.study.plan import length_section, read_study

    cfg = compose(args.config_name, args.overrides, args.config_dir)
    plain = OmegaConf.to_container(cfg.get("length"), resolve=True) if cfg.get("length") is not None else None
    section = length_section(plain)  # type: ignore[arg-type]
    study = read_study(cfg, args.config_dir, steps=section.most)
    overrides = next(run.overrides for run in study.runs if run.arm == section.arm)
    training = compose(study.train, [*overrides, *length_overrides(section)], args.config_dir)
    os.nice(study.nice)
    made = choose_length(study, OmegaConf.to_container(training, resolve=True))  # type: ignore[arg-type]
    flat = "the curve is flat there" if made["flat"] else "the curve is not flat yet: raise length.most"
    print(f"{made['steps']} steps: {flat} ({made['rule']}); {study.out / 'length.json'}")
    return 0


def _power(study: "Study") -> int:
    """Prints what each claim needs, and writes it."""
    from dataclasses import asdict

    from nemo_vtb.evaluation.scoring.bootstrap import Drawing
    from nemo_vtb.study.compare import answers_of, weights_of
    from nemo_vtb.study.design.power import power, power_lines
    from nemo_vtb.whole_files import write_text

    finished = study.finished()
    answers, untouched = answers_of(finished)
    drawing = Drawing(study.measure["eval"].get("bootstrap", 1000), study.measure.get("seed", 0))
    planned = {name: len(arm.seeds) for name, arm in study.arms.items()}
    apart = study.measure.get("apart", [])
    needs = power(study.claims, answers, untouched, planned, study.power, drawing, apart, *weights_of(finished))
    write_text(study.out / "power.json", json.dumps([asdict(need) for need in needs], indent=1) + "\n")
    print("\n".join(power_lines(needs)))
    print(f"\n{study.out / 'power.json'}")
    return 0
