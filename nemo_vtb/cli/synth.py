"""``vtb synth text | qa | speech``: data made by models, from a config in ``conf/synth``."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError

# Each module has job_of(config) and unique(rows).
_MAKERS = {
    "text": ("nemo_vtb.synthesis.replay.run", "replay conversations that an LLM writes for itself"),
    "qa": ("nemo_vtb.synthesis.qa.run", "questions about recordings, with answers, from their transcripts"),
    "speech": ("nemo_vtb.synthesis.spoken_turns.run", "chats whose words are partly spoken, and a bank of sentences"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to ``vtb synth``."""
    commands = parser.add_subparsers(required=True, metavar="what")
    for name, (_, what) in _MAKERS.items():
        command = commands.add_parser(name, help=f"{what}: vtb synth {name} out=FOLDER [key=value ...]")
        command.add_argument("--config-name", default=f"synth/{name}")
        command.add_argument("--config-dir", help="your own folder of configs; the shipped groups stay available")
        command.set_defaults(maker=name)
    card = commands.add_parser(
        "card", help="render the data card again, with what judgement.jsonl says: vtb synth card FOLDER"
    )
    card.add_argument("folder", type=Path)
    card.set_defaults(maker="card")


def run(args: argparse.Namespace) -> int:
    """Makes the missing shards of a part and, once all are there, joins them."""
    if args.maker == "card":
        return _card(args)
    from omegaconf import OmegaConf

    from nemo_vtb.config import compose
    from nemo_vtb.options import part_of
    from nemo_vtb.synthesis.jobs.job import run_job
    from nemo_vtb.synthesis.jobs.join import join

    cfg = compose(args.config_name, args.overrides, args.config_dir)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise VTBError(f"vtb synth {args.maker}: say {', '.join(f'{key}=...' for key in missing)}")
    OmegaConf.resolve(cfg)
    for key, least in {"seed": 0, "shard_size": 1, "processes": 1, "tar_shards": 0}.items():
        if type(cfg[key]) is not int or cfg[key] < least:
            raise VTBError(f"{key}={cfg[key]}: a whole number of at least {least}")
    module: Any = import_module(_MAKERS[args.maker][0])
    folder = Path(cfg.out)
    if not run_job(module.job_of(cfg), folder, part_of(cfg.part), cfg.processes):
        print(f"part {cfg.part} is made; the last part joins {folder}")
        return 0
    totals = join(folder, module.unique)
    print(f"{totals['rows']} in {folder}")
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
