"""What the subcommands' parsers share: one-line errors, bounded numbers, the options of Hydra's programs."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_OVERRIDES = """\
Overrides change the config: key=value, +key=value for a new key, ~key to remove one, group=name for another file of a
group (lora=r16), +group=name for a further one (+blend=paper). To see the result: --cfg job, with --resolve for the
values that stand for others."""

# What Hydra's programs do with one run, and with several.
_OF_RUNS = ("hydra.run.", "hydra.job.chdir", "hydra.output_subdir")
# What is so anyway.
_SO_ANYWAY = ("hydra.run.dir=.", "hydra.job.chdir=false", "hydra.output_subdir=null")
_OF_SWEEPS = ("hydra.sweep.", "hydra.sweeper.", "hydra.launcher.", "hydra/sweeper", "hydra/launcher")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; its subparsers do too.

    Attributes:
        commands: The parsers of its subcommands, by name.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.commands: Mapping[str, Parser] = {}

    def add_subparsers(self, **options: Any) -> Any:
        """As argparse does, and remembers what is added."""
        added = super().add_subparsers(**options)
        self.commands = added.choices
        return added

    def leaves(self) -> "Iterator[Parser]":
        """Yields every parser without subcommands; its ``prog`` is what is typed, e.g. ``vtb data lint``."""
        for parser in self.commands.values():
            yield from parser.leaves()
        if not self.commands:
            yield self

    def error(self, message: str) -> NoReturn:
        """Ends the program with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def whole(least: int, most: float = 10**9) -> Callable[[str], int]:
    """The type of an option that is a whole number within bounds."""

    def number(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {least} to {most:.12g}")
        return int(text)

    return number


def factor(text: str) -> float:
    """The type of an option that is a number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of at least 0")
    return value


def add_config_arguments(parser: argparse.ArgumentParser, default: str | None = None, about: str = "") -> None:
    """Adds how a config is named and shown, in Hydra's words.

    Args:
        parser: Of a subcommand that takes overrides.
        default: Name of its config; None where one must be given, empty where there need be none.
        about: Behind the help of ``--config-name``.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_OVERRIDES}\n\nShipped configs: {', '.join(shipped_configs())}\nGroups: {shipped_groups()}"
    group = parser.add_argument_group("config")
    usual = f" (default: {default})" if default else ""
    group.add_argument(
        "--config-name",
        "-cn",
        default=default,
        required=default is None,
        metavar="NAME",
        help=f"{about}{usual}".strip(),
    )
    group.add_argument(
        "--config-dir",
        "-cd",
        "--config-path",
        "-cp",
        action="append",
        metavar="FOLDER",
        help="your own folder of configs, several times for several; the shipped groups stay available",
    )
    group.add_argument(
        "--cfg",
        "-c",
        nargs="?",
        const="job",
        choices=["job", "hydra", "all"],
        help="print the composed config and stop",
    )
    group.add_argument("--resolve", action="store_true", help="with --cfg: fill in what ${...} stands for")
    group.add_argument("--package", "-p", metavar="SECTION", help="with --cfg: this section only")
    group.add_argument(
        "--info",
        "-i",
        nargs="?",
        const="all",
        choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
        help="print how the config is put together and stop",
    )


def config_parser() -> Parser:
    """Returns a parser of those options alone, for the reference."""
    parser = Parser(add_help=False)
    add_config_arguments(parser, "")
    return parser


def shows_config(args: argparse.Namespace) -> bool:
    """Prints what ``--cfg`` or ``--info`` asks for, as Hydra's programs do; whether that was all that was wanted.

    Raises:
        VTBError: If one of their companions stands alone, or the config cannot be composed.
    """
    if not getattr(args, "cfg", None) and not getattr(args, "info", None):
        for option in ("resolve", "package"):
            if getattr(args, option, None):
                raise VTBError(f"--{option} says how --cfg prints the config: add --cfg job")
        return False
    from nemo_vtb.config import hydra_session

    if not args.config_name:
        raise VTBError("--cfg and --info show a config: say --config-name NAME")
    with hydra_session(args.config_name, args.overrides, args.config_dir) as (hydra, name, overrides):
        if args.info:
            hydra.show_info(args.info, config_name=name, overrides=overrides)
        else:
            hydra.show_cfg(
                config_name=name,
                overrides=overrides,
                cfg_type=args.cfg,
                package=args.package,
                resolve=args.resolve,
            )
    return True


def sweep(args: argparse.Namespace, run: "Callable[[DictConfig], Any]") -> None:
    """Runs a config once for each combination of the values that overrides list, with Hydra's launcher and sweeper.

    Raises:
        VTBError: If the config cannot be composed, or a run's error can be mended.
    """
    from nemo_vtb.config import hydra_session

    def job(cfg: "DictConfig") -> None:
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import open_dict

        if "trainer" in cfg and hasattr(cfg.trainer, "keys") and not cfg.trainer.get("default_root_dir"):
            # Where the config names no folder, each run has Hydra's for it: they would overwrite one another.
            with open_dict(cfg):
                cfg.trainer.default_root_dir = HydraConfig.get().runtime.output_dir
        run(cfg)

    with hydra_session(args.config_name, args.overrides, args.config_dir) as (hydra, name, overrides):
        for batch in hydra.multirun(config_name=name, task_function=job, overrides=overrides):
            for done in batch:
                # Raises what the run has raised.
                done.return_value  # noqa: B018


def check_overrides(overrides: Sequence[str], prog: str, swept: bool = False) -> None:
    """Refuses options among the overrides of a config, and Hydra's own settings of programs: nobody would read them.

    Args:
        overrides: Of the config.
        prog: What is typed.
        swept: Whether Hydra's launcher and sweeper run it, which read them.

    Raises:
        VTBError: Names the option.
    """
    for text in overrides:
        setting = text.lstrip("+~")
        if not swept and setting.startswith(_OF_RUNS) and setting.lower() not in _SO_ANYWAY:
            raise VTBError(
                f"{text}: {prog} makes no folder of Hydra's and runs where it is called: the folder is named by "
                "trainer.default_root_dir or exp_manager.explicit_log_dir for vtb train, --out or out= for others"
            )
        if not swept and setting.startswith(_OF_SWEEPS):
            raise VTBError(f"{text}: it is for runs over several values, which are had with vtb train --multirun")
        if text in ("--multirun", "-m"):
            raise VTBError(f"{text}: runs over several values are had with vtb train --multirun")
        if text.startswith("-"):
            raise VTBError(f"unrecognized arguments: {text} (see {prog} --help)")


def shipped_configs() -> list[str]:
    """Names of the shipped configs that can be run."""
    from nemo_vtb.paths import config_dir

    return sorted(path.stem for path in config_dir().glob("*.yaml"))


def shipped_groups() -> str:
    """Groups of the shipped configs with what can be chosen in each."""
    from nemo_vtb.paths import config_dir

    folder = config_dir()
    groups = ("lora", "blend", "model", "data", "trainer", "cluster")
    return ", ".join(f"{group}={'|'.join(sorted(p.stem for p in (folder / group).glob('*.yaml')))}" for group in groups)


def command_line() -> str:
    """How the program was called, for a report."""
    import shlex

    return f"vtb {shlex.join(sys.argv[1:])}"
