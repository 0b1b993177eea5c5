"""``vtb config list``, ``show`` and ``cp``: a config of one's own begins with a shipped one."""

import argparse
from collections.abc import Iterator

from nemo_vtb.cli.arguments import Parser
from nemo_vtb.cli.own_config.shipped import read_shipped, shipped_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to ``vtb config``."""
    commands = parser.add_subparsers(required=True, metavar="what")
    command = commands.add_parser("list", help="every shipped config, group and file of prompts, with what it is for")
    command.set_defaults(config_run=_list)
    command = commands.add_parser("show", help="print a shipped config as it is, comments and all")
    command.add_argument("name", metavar="NAME", help="of vtb config list")
    command.set_defaults(config_run=_show)
    command = commands.add_parser("cp", help="copy a shipped config; the copy opens with the command that runs it")
    command.add_argument("name", metavar="NAME", help="of vtb config list")
    command.add_argument("to", metavar="TO", nargs="?", help="file, or folder that is there (default: in this folder)")
    command.set_defaults(config_run=_copy)


def run(args: argparse.Namespace, root: Parser) -> int:
    """Runs the chosen subcommand.

    Args:
        args: As read.
        root: The parser of all commands, which knows what each runs by default.
    """
    for line in args.config_run(args, root):
        print(line)
    return 0


def _list(args: argparse.Namespace, root: Parser) -> Iterator[str]:
    found = [read_shipped(name) for name in shipped_names()]
    width = max(len(one.name) for one in found)
    for one in found:
        yield f"{one.name:<{width}}  {one.about}"


def _show(args: argparse.Namespace, root: Parser) -> Iterator[str]:
    yield read_shipped(args.name).text.rstrip("\n")


def _copy(args: argparse.Namespace, root: Parser) -> Iterator[str]:
    from nemo_vtb.cli.own_config.copy import copy_shipped

    path, made = copy_shipped(args.name, args.to, root)
    yield str(path)
    shipped = read_shipped(args.name).commands
    yield from [command for command in made.commands if command not in shipped][:1]
