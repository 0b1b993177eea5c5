"""``vtb eval CHECKPOINT``: what a checkpoint can do, beside its untouched LLM."""

import argparse
from pathlib import Path

from nemo_vtb.cli.arguments import add_config_arguments, command_line
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import CHECKPOINT_HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb eval``."""
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    add_config_arguments(parser, "eval/quickstart", "what to ask")
    parser.add_argument("--submit", metavar="FOLDER", help="also write the files that VoiceBench and Open ASR take")
    parser.add_argument("--gate", action="store_true", help="fail where more text was lost than eval.max_text_drop")


def run(args: argparse.Namespace) -> int:
    """Measures, prints the table, and returns 1 where the gate was asked for and failed."""
    from nemo_vtb.config import compose
    from nemo_vtb.evaluation.run import evaluate
    from nemo_vtb.pages.eval import render_eval_page
    from nemo_vtb.pages.svg import require_plots
    from nemo_vtb.parts.ranks import check_started, is_first
    from nemo_vtb.reports.score_table import table_lines

    cfg = compose(args.config_name, args.overrides, args.config_dir)
    if args.gate and (cfg.get("eval") or {}).get("max_text_drop") is None:
        raise VTBError("--gate needs to know how much text may be lost: say eval.max_text_drop=2")
    require_plots()
    check_started(cfg.get("tensor_model_parallel_size"), "tensor_model_parallel_size={}")
    report = evaluate(args.checkpoint, cfg, command_line(), render_eval_page, args.submit)
    if is_first():
        print("\n".join(table_lines(report)))
        print(f"\n{report['seconds']:.0f} s. Report: {Path(cfg.get('out') or 'runs/eval') / 'eval.html'}")
    return 0 if not args.gate or report["gate"]["passed"] else 1
