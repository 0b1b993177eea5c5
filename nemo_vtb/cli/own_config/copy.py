"""Copies a shipped config and has the header's commands run the copy."""

import re
import shlex
from pathlib import Path

from nemo_vtb.cli.arguments import Parser
from nemo_vtb.cli.own_config.shipped import COMMAND, ShippedConfig, read_shipped
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import sentence

# Folders of configs that are run by --config-name; the other folders are groups, or hold prompts.
_RUN = ("eval", "recipes", "study", "synth")
_PROMPTS = "prompts"


def copy_shipped(name: str, to: str | None, root: Parser) -> tuple[Path, ShippedConfig]:
    """Writes a copy.

    Args:
        name: Of the shipped config.
        to: File, or folder that is there; None for a file of the config's name in this folder.
        root: The parser of all commands.

    Returns:
        The path, and what was written there.

    Raises:
        VTBError: If there is no such config, it is only a part of others, or the file cannot be written.
    """
    config = read_shipped(name)
    if not config.alone:
        raise VTBError(f"{config.name} is a part of other configs and runs none by itself: its header names them")
    path = _place(config, to)
    copied = ShippedConfig(
        path.stem, COMMAND.sub(lambda found: _rewritten(found[0], config, path, root), config.header)
    )
    copied = ShippedConfig(copied.name, copied.text + config.text[len(config.header) :])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(copied.text)
    except FileExistsError as error:
        raise VTBError(f"{path} is there already: name another file, or remove it") from error
    except OSError as error:
        raise VTBError(str(sentence(error))) from error
    return path, copied


def _place(config: ShippedConfig, to: str | None) -> Path:
    folder, _, stem = config.name.rpartition("/")
    usual = f"{folder}/{stem}.yaml" if _group(config.name) else f"{config.name.replace('/', '_')}.yaml"
    if to is None or Path(to).is_dir():
        return Path(to or "", usual)
    path = Path(to)
    path = path if path.suffix == ".yaml" else path.with_name(f"{path.name}.yaml")
    if (group := _group(config.name)) and path.parent.name != group:
        raise VTBError(
            f"{path}: a file of the group {group} stands in a folder of that name: "
            f"vtb config cp {config.name} {path.with_name(group) / path.name}"
        )
    return path


def _group(name: str) -> str:
    """The config group that a name belongs to; empty for what is run by itself, and for prompts."""
    folder = name.partition("/")[0] if "/" in name else ""
    return "" if folder in _RUN or _PROMPTS in name.split("/") else folder


def _rewritten(command: str, config: ShippedConfig, path: Path, root: Parser) -> str:
    """A command of the header, continuation lines and all, that takes the copy instead."""
    stem = config.name.rpartition("/")[2]
    if _PROMPTS in config.name.split("/"):
        return re.sub(rf"(?<=prompt_file=){stem}\b|(?<=prompt_files=\[){stem}\b", str(path), command)
    if group := _group(config.name):
        folder = f"--config-dir={shlex.quote(str(path.parent.parent))}"
        chosen, times = re.subn(rf"(\b{group}(?:@\w+)?)={stem}\b", rf"\1={path.stem}", command)
        if not times and "--config-name=" not in command:
            return command
        chosen = chosen if times else f"{command} {group}={path.stem}"
        return _behind_program(chosen, folder, root)
    named = f"--config-dir={shlex.quote(str(path.parent))} --config-name={path.stem}"
    found, times = re.subn(rf"--config-name={config.name}(?![\w/])", lambda _: named, command)
    if times:
        return found
    leaf = _leaf(command, root)
    return _behind_program(command, named, root) if leaf and leaf.get_default("config_name") == config.name else command


def _behind_program(command: str, words: str, root: Parser) -> str:
    """Puts words behind the last program of a command and its subcommands."""
    begin = command.rpartition(" -- ")[0]
    rest = command[len(begin) :]
    leaf = _leaf(rest.removeprefix(" -- "), root)
    pattern = re.escape(leaf.prog) if leaf else r"python \S+"
    return begin + re.sub(pattern, lambda found: f"{found[0]} {words}", rest, count=1)


def _leaf(command: str, root: Parser) -> Parser | None:
    text = command.lstrip("# ")
    return next((parser for parser in root.leaves() if f"{text} ".startswith(f"{parser.prog} ")), None)
