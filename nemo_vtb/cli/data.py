"""``vtb data prepare``, ``vtb data lint`` and ``vtb data report``."""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.cli.arguments import add_config_arguments, whole
from nemo_vtb.config import resolved, section_of
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import sentence

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nemo_vtb.data.inspection.findings import LintResult

_SHOWN_PER_REASON = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to ``vtb data``."""
    commands = parser.add_subparsers(required=True, metavar="what")

    command = commands.add_parser("lint", help="check every row and clip: vtb data lint FILE ... or --config-name=NAME")
    command.add_argument(
        "files",
        nargs="*",
        metavar="PATH or key=value",
        help="files of rows, tars, folders of them; or config overrides",
    )
    add_config_arguments(command, "", "check all sources of this training config, lengths included")
    command.add_argument("--type", help="data type of the files (default: what the first row looks like)")
    command.add_argument("--kind", help="kind of the files: text, asr, ast, sqa or mixed")
    command.add_argument("--json", metavar="FILE", help="write all findings as JSON; - for standard output")
    command.add_argument("--no-decode", action="store_true", help="look at the headers of clips only")
    command.add_argument("--processes", type=whole(1, 4096), help="default: one per core")
    command.set_defaults(data_run=_lint)

    command = commands.add_parser("prepare", help="a public corpus from a local copy: manifests and their blend")
    command.add_argument(
        "corpus", metavar="NAME", help="librispeech, mls, common_voice, fleurs, covost2, ultrachat, ..."
    )
    command.add_argument(
        "--from", dest="folder", required=True, metavar="FOLDER", help="local copy, as it is published"
    )
    command.add_argument(
        "--out", required=True, metavar="FOLDER", help="for the manifests, blend/NAME.yaml, corpus.json"
    )
    command.add_argument("--languages", default="", metavar="TAGS", help="of what is said, by commas (default: all)")
    command.add_argument("--targets", default="", metavar="TAGS", help="of translations, by commas (default: all)")
    command.set_defaults(data_run=_prepare)

    command = commands.add_parser("report", help="simulate a blend and write what it holds as JSON and a page")
    add_config_arguments(command, about="a training config")
    command.add_argument("--steps", type=whole(1, 10**7), default=1000, help="steps to simulate")
    command.add_argument("--ranks", type=whole(1, 10**5), default=1, help="data-parallel ranks to simulate")
    command.add_argument("--out", default="runs/data_report", help="folder of report.json and report.html")
    command.set_defaults(data_run=_report)


def run(args: argparse.Namespace) -> int:
    """Runs the chosen subcommand."""
    return args.data_run(args)


def _prepare(args: argparse.Namespace) -> int:
    from nemo_vtb.data.corpora.write import prepare

    if args.overrides:
        raise VTBError(f"{' '.join(args.overrides)}: vtb data prepare has no config to override")
    tags = ([tag for tag in text.split(",") if tag] for text in (args.languages, args.targets))
    print("\n".join(prepare(args.corpus, args.folder, args.out, *tags)))
    return 0


def _lint(args: argparse.Namespace) -> int:
    from nemo_vtb.data.inspection.findings import LintResult

    # Behind an option the parser takes a file for an override. Hydra takes a key out with ~key; ~/file is in the home.
    texts = [*args.files, *args.overrides]
    files = [text for text in texts if not re.match(r"~\w|.*=", text) or Path(text).exists()]
    overrides = [text for text in texts if text not in files]
    if bool(files) == bool(args.config_name):
        raise VTBError("give files of rows, or --config-name, not both: vtb data lint train.jsonl --kind asr")
    result = LintResult()
    if files:
        _lint_files(files, overrides, args, result)
    else:
        _lint_config(overrides, args, result)
    if args.json:
        text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
        else:
            try:
                Path(args.json).write_text(text, encoding="utf-8")
            except OSError as error:
                raise VTBError(f"--json: {sentence(error)}") from error
    if args.json != "-":
        print("\n".join(_lines(result)))
    return 1 if result.count("error") else 0


def _lint_files(files: list[str], overrides: list[str], args: argparse.Namespace, result: "LintResult") -> None:
    from omegaconf import OmegaConf

    from nemo_vtb import registry
    from nemo_vtb.data.inspection.lint_paths import lint_paths

    registry.register()
    options: Any = OmegaConf.to_container(OmegaConf.from_dotlist(overrides))
    lint_paths(files, options, result, args.type, args.kind, not args.no_decode, args.processes)


def _lint_config(overrides: list[str], args: argparse.Namespace, result: "LintResult") -> None:
    from nemo_vtb.config import compose
    from nemo_vtb.data.files.entries import kind_entries
    from nemo_vtb.data.inspection.lint import lint_entry

    cfg = compose(args.config_name, overrides, args.config_dir)
    for where, kinds, reading, special in _sections(cfg):
        for kind in kinds:
            if args.kind in (None, kind):
                for entry in kind_entries(kinds, kind, where):
                    lint_entry(entry, kind, reading, result, not args.no_decode, special, args.processes)


def _sections(cfg: "DictConfig") -> Iterator[tuple[str, Any, Any, tuple[str, ...]]]:
    """The kinds of ``train_ds`` and ``validation_ds``, how they are read, and the tokenizer's special tokens."""
    from nemo_vtb.data.datamodule import reading_of
    from nemo_vtb.data.inspection.preview import dataset_of
    from nemo_vtb.data.options import DEFAULT_BATCH_TOKENS, check_held_out_section, check_train_section

    section_of(resolved(cfg), "data.train_ds")
    dataset = dataset_of(cfg)
    special = tuple(dataset.tokenizer.tokenizer.all_special_tokens)
    train, held_out = cfg.data.get("train_ds"), cfg.data.get("validation_ds")
    if train is not None and "blend" in train:
        check_train_section(train)
        limit = train.get("batch_tokens", DEFAULT_BATCH_TOKENS)
        reading = reading_of(train, "data.train_ds", dataset, limit)
        yield "data.train_ds.blend.kinds", train.blend.kinds, reading, special
    if held_out is not None and "kinds" in held_out:
        check_held_out_section(held_out)
        yield "data.validation_ds.kinds", held_out.kinds, reading_of(held_out, "data.validation_ds", dataset), special


def _lines(result: "LintResult") -> Iterator[str]:
    shown: Counter[str] = Counter()
    for finding in result.findings:
        shown[finding.reason] += 1
        if shown[finding.reason] <= _SHOWN_PER_REASON:
            yield str(finding)
    if result.findings:
        yield ""
    for reason, about in result.to_dict()["reasons"].items():
        more = f" ({about['count'] - _SHOWN_PER_REASON} not shown)" if about["count"] > _SHOWN_PER_REASON else ""
        yield f"{about['count']:8d} {reason}{more}: {about['remedy']}"
    if result.read:
        yield f"read as {'; '.join(result.read)}"
    errors, warnings = result.count("error"), result.count("warning")
    yield f"{result.rows} rows in {len(result.files)} files: {errors} errors, {warnings} warnings"


def _report(args: argparse.Namespace) -> int:
    from nemo_vtb.config import compose
    from nemo_vtb.data.inspection.report import data_report
    from nemo_vtb.pages.data_report import render_data_page

    cfg = compose(args.config_name, args.overrides, args.config_dir)
    command = " ".join(["vtb", "data", "report", *sys.argv[3:]])
    print(data_report(cfg, Path(args.out), args.steps, args.ranks, command, render_data_page))
    return 0
