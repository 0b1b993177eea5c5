"""The first page: every command with its arguments, every shipped config."""

import argparse
from collections.abc import Iterator

from sections import PAGES

from nemo_vtb.cli import parser
from nemo_vtb.cli.arguments import Parser, config_parser
from nemo_vtb.cli.help import HELP
from nemo_vtb.cli.own_config.shipped import read_shipped, shipped_names

_INTRO = """\
Made from the code by `python tutorials/reference`; a test makes it again and compares. Keys of configs:
{pages}.

Every command that takes a config takes overrides too: `key=value`, `+key=value` for a new key, `~key` to remove one,
`group=name` for another file of a group."""


def commands_page() -> str:
    """Renders it."""
    links = ", ".join(f"[{page.title.partition(': ')[2]}]({page.name}.md)" for page in PAGES)
    lines = ["# Reference", "", _INTRO.format(pages=links), *_of_config_commands()]
    for leaf in parser().leaves():
        lines += _of_command(leaf)
    return "\n".join([*lines, *_configs()]) + "\n"


def _of_config_commands() -> Iterator[str]:
    yield from ("", "## Commands that take a config", "")
    yield from _arguments(config_parser())


def _of_command(leaf: Parser) -> Iterator[str]:
    about, *examples = HELP[leaf.prog]
    yield from ("", f"## {leaf.prog}", "", about, "", "```text", *"\n".join(examples).splitlines(), "```")
    known = {option for action in config_parser()._actions for option in action.option_strings}
    own = [one for one in leaf._actions if one.dest != "help" and not set(one.option_strings) & known]
    default = leaf.get_default("config_name")
    if "--config-name" in leaf._option_string_actions:
        named = f"`{default}` by default" if default else "one must be named" if default is None else "none is needed"
        yield from ("", f"Takes a config: {named}.")
    if own:
        yield ""
        yield from _table(own)


def _arguments(reader: argparse.ArgumentParser) -> Iterator[str]:
    yield from _table(reader._actions)


def _table(actions: list[argparse.Action]) -> Iterator[str]:
    yield "| argument | holds | default | |"
    yield "|---|---|---|---|"
    for one in actions:
        name = ", ".join(one.option_strings) or str(one.metavar or one.dest)
        yield f"| `{name}` | {_holds(one)} | {_default(one)} | {_cell(str(one.help))} |"


def _holds(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "nothing"
    if action.choices:
        return ", ".join(map(str, action.choices))
    kinds = {None: "text", int: "int"}
    words = kinds.get(action.type, "a number") if not isinstance(action.default, int) else "a number"  # type: ignore[arg-type]
    return f"{words}, several" if action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction) else words


def _default(action: argparse.Action) -> str:
    if action.required:
        return "**needed**"
    return "" if action.default in (None, False, "", []) else f"`{action.default}`"


def _configs() -> Iterator[str]:
    yield from (
        "",
        "## Shipped configs",
        "",
        "`vtb config cp NAME` begins one of your own.",
        "",
        "| config | what it is |",
        "|---|---|",
    )
    for name in shipped_names():
        yield f"| `{name}` | {_cell(read_shipped(name).about)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("%%", "%")
