"""``vtb synth text | qa | reply | speech``: data made by models, from a config in ``conf/synth``."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from nemo_vtb.cli.arguments import add_config_arguments
from nemo_vtb.errors import VTBError

# Each module has job_of(config) and unique(rows).
_MOST = {"seed": 2**32 - 1, "shard_size": 10**9, "processes": 4096, "tar_shards": 10**6}
_MAKERS = {
    "text": ("nemo_vtb.synthesis.replay.run", "replay conversations that an LLM writes for itself"),
    "qa": ("nemo_vtb.synthesis.qa.run", "questions about recordings, with answers, from their transcripts"),
    "reply": ("nemo_vtb.synthesis.reply.run", "the LLM's own replies to what recordings say"),
    "speech": ("nemo_vtb.synthesis.spoken_turns.run", "chats whose words are partly spoken, and a bank of sentences"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to ``vtb synth``."""
    commands = parser.add_subparsers(required=True, metavar="what")
    for name, (_, what) in _MAKERS.items():
        command = commands.add_parser(name, help=f"{what}: vtb synth {name} out=FOLDER [key=value ...]")
        add_config_arguments(command, f"synth/{name}", "what to make and how")
        command.set_defaults(maker=name)
    card = commands.add_parser(
        "card", help="render the data card again, with what judgement.jsonl says: vtb synth card FOLDER"
    )
    card.add_argument("folder", type=Path, help="that vtb synth has filled")
    card.set_defaults(maker="card")


def run(args: argparse.Namespace) -> int:
    """Makes the missing shards of a part and, once all are there, joins them."""
    if args.maker == "card":
        return _card(args)
    from omegaconf import OmegaConf

    from nemo_vtb.config import compose, resolved
    from nemo_vtb.options import Share, part_of, typed
    from nemo_vtb.paths import require_writable
    from nemo_vtb.synthesis.jobs.job import run_job
    from nemo_vtb.synthesis.jobs.join import join

    cfg = compose(args.config_name, args.overrides, args.config_dir)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise VTBError(f"vtb synth {args.maker}: say {', '.join(f'{key}=...' for key in missing)}")
    resolved(cfg)
    for key, least in {"seed": 0, "shard_size": 1, "processes": 1, "tar_shards": 0}.items():
        value = cfg.get(key)
        if type(value) is not int or not least <= value <= _MOST[key]:
            raise VTBError(f"{key}={value}: a whole number of at least {least} and at most {_MOST[key]}")
    typed("max_bad_share", cfg.get("max_bad_share"), Share)
    typed("out", cfg.get("out"), str)
    module: Any = import_module(_MAKERS[args.maker][0])
    part_of(cfg.get("part"))
    folder = Path(str(cfg.out))
    job = module.job_of(cfg)
    require_writable(folder, "out")
    if not run_job(job, folder, part_of(cfg.part), cfg.processes):
        print(f"part {cfg.part} is made; the last part joins {folder}")
        return 0
    totals = join(folder, module.unique)
    print(f"{totals['rows']} in {folder}")
    if not any(totals["rows"].values()):
        reasons = {**totals["drops"], **totals["bad"]}
        most = ", ".join(f"{reason} ({count})" for reason, count in list(reasons.items())[:3])
        print(f"note: nothing was kept; most was dropped as {most}: see {folder / 'drops.jsonl'}", file=sys.stderr)
    if cfg.tar_shards:
        from nemo_vtb.synthesis.jobs.packed import pack

        print(*pack(folder, cfg.tar_shards), sep="\n")
    _write_card(folder)
    return 0


def _card(args: argparse.Namespace) -> int:
    if args.overrides:
        raise VTBError(f"vtb synth card FOLDER takes nothing else: {' '.join(args.overrides)}")
    _write_card(args.folder)
    return 0


def _write_card(folder: Path) -> None:
    from nemo_vtb.synthesis.data_card import write_card

    print(write_card(folder))
