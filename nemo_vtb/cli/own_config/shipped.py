"""The shipped configs as files: what each is for, and the commands that its header gives."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from nemo_vtb.errors import VTBError
from nemo_vtb.paths import config_dir

# A command in a header: a comment that is indented, with the lines that continue it.
COMMAND = re.compile(r"^# {3,}(?:vtb|python|make|torchrun|nemo) (?:.*\\\n)*.*$", re.MULTILINE)
_HEADER = re.compile(r"(?:#.*\n)*")
_PART_OF_OTHERS = "ot to be run by itself"


@dataclass(frozen=True)
class ShippedConfig:
    """A file below ``conf``.

    Attributes:
        name: Its path there without the suffix, as ``--config-name`` takes it.
        text: All of it.
    """

    name: str
    text: str

    @property
    def header(self) -> str:
        """The comment lines that it opens with."""
        found = _HEADER.match(self.text)
        return found[0] if found else ""

    @property
    def about(self) -> str:
        """The first line of words."""
        lines = [line.removeprefix("# ") for line in self.header.splitlines() if not line.startswith("# @package")]
        return lines[0].rstrip(":") if lines else ""

    @property
    def commands(self) -> list[str]:
        """The commands of the header, each in one line."""
        return [re.sub(r"\s*\\\n#\s*", " ", found[0]).lstrip("# ") for found in COMMAND.finditer(self.header)]

    @property
    def alone(self) -> bool:
        """Whether anything runs it, or chooses it."""
        return _PART_OF_OTHERS not in self.header


def shipped_names() -> list[str]:
    """Names of all shipped configs, groups and files of prompts."""
    folder = config_dir()
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def read_shipped(name: str) -> ShippedConfig:
    """Reads a shipped config.

    Raises:
        VTBError: If there is none of this name.
    """
    name = name.removesuffix(".yaml").removeprefix("conf/")
    known = shipped_names()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "vtb config list names them all"
        raise VTBError(f"no shipped config is called {name}: {hint}")
    return ShippedConfig(name, (config_dir() / f"{name}.yaml").read_text(encoding="utf-8"))
