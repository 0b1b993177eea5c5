"""Filling in the job scripts of ``examples/slurm``, which are whole by themselves."""

import re
import shlex
from collections.abc import Mapping, Sequence

_OPTION = re.compile(r"#SBATCH --([\w-]+)(?:=(.*))?")
# What sbatch reads as the end of a value, as a quote or as the beginning of a comment.
_QUOTED = re.compile(r"[\s\"'\\#]")


def render(
    template: str, options: Mapping[str, str | None], settings: Mapping[str, str], command: Sequence[str]
) -> str:
    """Fills in a job script.

    Args:
        template: The script.
        options: ``sbatch`` options by long name: those it has are replaced, others added, None removes one.
        settings: Environment variables.
        command: What the script would get as its arguments.

    Returns:
        A script that needs no arguments.
    """
    lines = template.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("#SBATCH"))
    last = max(number for number, line in enumerate(lines) if line.startswith("#SBATCH"))
    wanted = {**parse_options(template), **options}
    header = [f"#SBATCH --{name}={_quoted(value)}" for name, value in wanted.items() if value]
    header += [f"#SBATCH --{name}" for name, value in wanted.items() if value == ""]
    given = [f"export {name}={shlex.quote(value)}" for name, value in settings.items() if value]
    given.append("set -- " + shlex.join(command))
    return "\n".join([*lines[:first], *header, "", *given, "", *lines[last + 1 :]]) + "\n"


def parse_options(script: str) -> dict[str, str | None]:
    """The ``#SBATCH`` options of a script by long name; an option without a value is empty."""
    found = (_OPTION.fullmatch(line.strip()) for line in script.splitlines())
    return {option[1]: _unquoted(option[2] or "") for option in found if option}


def _quoted(value: str) -> str:
    """A value as sbatch reads it whole: it does not ask a shell."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"' if _QUOTED.search(value) else value


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
