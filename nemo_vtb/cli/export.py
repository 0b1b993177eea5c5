"""``vtb export CHECKPOINT --to FORM --out FOLDER``."""

import argparse
import sys
from pathlib import Path

from nemo_vtb.cli.arguments import add_config_arguments
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import CHECKPOINT_HELP, require_writable

# Kinds of files that an export writes.
_WRITTEN = (".json", ".md", ".model", ".safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb export``."""
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--to", required=True, choices=["hf", "adapter", "merged", "slim"], help="form")
    parser.add_argument("--out", required=True, help="folder")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"], help="of weights")
    parser.add_argument("--eval", metavar="JSON", help="eval.json of `vtb eval`, for the model card")
    parser.add_argument("--llm", metavar="NAME", help="what others get the LLM by, where it is a folder here")
    parser.add_argument("--encoder", metavar="NAME", help="likewise the speech encoder")
    add_config_arguments(parser, "", "config of the run, for the card of a checkpoint that does not name its data")


def run(args: argparse.Namespace) -> int:
    """Writes the folder and prints its name; notes go to standard error."""
    from nemo_vtb.inference.export import CardInputs, export

    folder = Path(args.out)
    require_writable(folder, "--out")
    if kept := sorted(path.name for path in folder.iterdir() if path.suffix in _WRITTEN):
        raise VTBError(f"--out {folder} holds {kept[0]}, which an export would write over: name another folder")
    inputs = CardInputs(args.eval, _blend(args), args.llm, args.encoder)
    for note in export(args.checkpoint, args.to, args.out, args.dtype, inputs):
        print(f"note: {note}", file=sys.stderr)
    print(args.out)
    return 0


def _blend(args: argparse.Namespace) -> dict | None:
    if not args.config_name:
        if args.overrides:
            raise VTBError(f"{' '.join(args.overrides)}: overrides need the config they change: --config-name NAME")
        return None
    from omegaconf import OmegaConf

    from nemo_vtb.config import compose

    cfg = compose(args.config_name, args.overrides, args.config_dir)
    blend = OmegaConf.select(cfg, "data.train_ds.blend")
    if blend is None:
        raise VTBError(f"--config-name {args.config_name} has no section data.train_ds.blend")
    plain: dict = OmegaConf.to_container(blend, resolve=True)
    return plain
