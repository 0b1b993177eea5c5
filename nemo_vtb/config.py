"""Configs: composed with Hydra from shipped and own folders, and without keys that nobody reads."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError, about_what_was_typed
from nemo_vtb.host_errors import first_line, sentence

if TYPE_CHECKING:
    from omegaconf import DictConfig

# One folder of configs, or several, of which the first to have a name wins.
ConfigDirs = str | Path | Sequence[str | Path] | None
_SEARCHPATH = "hydra.searchpath="
_CALLBACKS = "trainer.callbacks"


@about_what_was_typed()
def compose(config_name: str, overrides: Sequence[str], config_dir: ConfigDirs = None) -> "DictConfig":
    """Composes a shipped or a user's config with Hydra.

    Raises:
        VTBError: If Hydra refuses the name or an override; the message is Hydra's.
    """
    with hydra_session(config_name, overrides, config_dir) as (_, primary, complete):
        from hydra import compose as hydra_compose

        cfg = hydra_compose(primary, overrides=complete)
        if (without := without_cluster(complete)) is not None:
            _keep_callbacks(cfg, hydra_compose(primary, overrides=without), complete)
        return cfg


def without_cluster(overrides: Sequence[str]) -> list[str] | None:
    """Overrides that choose groups or folders, but for ``+cluster=...``: what the config is before that.

    The group's list of callbacks takes the place of the config's own, as lists do in Hydra.

    Returns:
        None where no cluster is added, or the callbacks are given on the command line.
    """
    words = [word.lstrip("+") for word in overrides]
    if not any(word.startswith("cluster=") for word in words) or any(w.startswith(f"{_CALLBACKS}=") for w in words):
        return None
    return [
        override
        for override, word in zip(overrides, words, strict=True)
        if not word.startswith("cluster=")
        and (word.startswith("hydra.") or "." not in word.partition("=")[0].partition("@")[0])
    ]


def _keep_callbacks(cfg: "DictConfig", before: "DictConfig", overrides: Sequence[str]) -> None:
    """Puts a config's own callbacks behind those of the cluster; of a class that both have, the config's settings."""
    from omegaconf import OmegaConf, open_dict

    added: Any = OmegaConf.select(cfg, _CALLBACKS)
    own: Any = OmegaConf.select(before, _CALLBACKS)
    if not isinstance(added, Sequence) or not isinstance(own, Sequence) or added == own:
        return
    # What is no section is refused later, by its place.
    named = [(str(callback.get("_target_")) if hasattr(callback, "get") else "", callback) for callback in own]
    # By its number on the command line, one of the cluster's was set.
    settings = {} if any(word.lstrip("+").startswith(f"{_CALLBACKS}.") for word in overrides) else dict(named)
    there = {str(callback.get("_target_")): callback for callback in added}
    with open_dict(cfg):
        cfg.trainer.callbacks = [
            *(settings.get(name, callback) for name, callback in there.items()),
            *(callback for name, callback in named if name not in there),
        ]


@contextmanager
def hydra_session(
    config_name: str, overrides: Sequence[str], config_dir: ConfigDirs = None
) -> Iterator[tuple[Any, str, list[str]]]:
    """Hydra, looking for configs in one's own folders and then in the shipped one.

    Args:
        config_name: Of the config, with the folder that it is in.
        overrides: Of the config.
        config_dir: One's own folders.

    Yields:
        Hydra's own object, the name to compose, and the overrides with the folders among them.

    Raises:
        VTBError: In the place of what Hydra, OmegaConf and YAML raise in the block.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from nemo_vtb.paths import config_dir as shipped

    folders = _folders(config_dir, shipped())
    own, rest = _searchpaths(overrides)
    searched = [*(f"file://{folder}" for folder in folders[1:]), *own]
    complete = [f"{_SEARCHPATH}[{','.join(searched)}]", *rest] if searched else list(rest)
    before = HydraConfig.instance().cfg
    try:
        with initialize_config_dir(str(folders[0]), version_base=None):
            yield GlobalHydra.instance().hydra, _primary(config_name, rest, folders), complete
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise VTBError(f"config '{config_name}': {_said(error, overrides, folders[:-1])}") from error
    except UnicodeDecodeError as error:
        raise VTBError(f"config '{config_name}': {sentence(error)}") from error
    except AssertionError as error:
        # Hydra and OmegaConf assert what they expect of a config file, e.g. that it holds keys and not a list.
        raise VTBError(
            f"config '{config_name}' is no config: a file of keys and values; {error}".rstrip("; ")
        ) from error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        if not (override := _applied(error)):
            raise
        raise VTBError(f"config '{config_name}': {_misfit(override, error)}") from error
    finally:
        # What a sweep leaves here, NeMo's experiment manager takes for a run of Hydra's in another folder.
        HydraConfig.instance().cfg = before


def resolved(cfg: "DictConfig") -> "DictConfig":
    """Fills in the interpolations of a config, in place.

    Raises:
        VTBError: Names the key whose interpolation fails.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        raise VTBError(failed_interpolation(cfg, error)) from error
    return cfg


def failed_interpolation(cfg: Any, error: Exception) -> str:
    """Says which key of a config holds the interpolation that failed: OmegaConf names it in some cases only."""
    from omegaconf import OmegaConf

    if getattr(error, "full_key", None):
        return str(sentence(error))
    for key in _interpolated(cfg):
        try:
            OmegaConf.select(cfg, key)
        except Exception:
            return f"config key {key}: its interpolation fails: {first_line(error)}"
    return str(sentence(error))


def _interpolated(cfg: Any, path: str = "") -> Iterator[str]:
    from omegaconf import DictConfig, OmegaConf

    if not OmegaConf.is_config(cfg) or cfg._is_interpolation() or cfg._is_missing() or cfg._is_none():
        return
    for key in cfg if isinstance(cfg, DictConfig) else range(len(cfg)):
        inner = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_interpolation(cfg, key):
            yield inner
        elif not OmegaConf.is_missing(cfg, key):
            yield from _interpolated(cfg._get_node(key), inner)


def section_of(cfg: Mapping[str, Any], path: str, needed: bool = True) -> Any:
    """A section of a config by its dotted name; None where it is not needed and not there.

    Raises:
        VTBError: If it is missing, or is no section.
    """
    found: Any = cfg
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) or hasattr(found, "keys") else None
    if found is None and not needed:
        return None
    if found is None:
        raise VTBError(f"missing config key {path}: a section; begin with a shipped config, e.g. quickstart")
    if not hasattr(found, "keys"):
        raise VTBError(f"{path} is {found!r}; it is a section of keys and values")
    return found


def referred_keys(cfg: Mapping[str, Any]) -> set[str]:
    """The top keys of a config that its interpolations name (``${data_root}/train.jsonl``); before it is resolved."""
    from omegaconf import OmegaConf

    if not OmegaConf.is_config(cfg):
        return set()
    return set(re.findall(r"\$\{\s*(\w+)\s*[.}\[]", OmegaConf.to_yaml(cfg)))


def check_keys(section: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuses keys that nothing reads.

    Raises:
        VTBError: Names the key with its path, and the closest known key; or the section, if it is none.
    """
    if not hasattr(section, "keys"):
        raise VTBError(f"{where} is {section!r}; it is a section of keys and values")
    known = sorted(known)
    for key in section:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known keys: {', '.join(known)}"
            raise VTBError(f"unknown config key {where}.{key}{hint}")


def flattened(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping of dotted names; empty ones are values."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= flattened(item, f"{name}.{key}" if name else str(key))
    return found


def _folders(config_dir: ConfigDirs, shipped: Path) -> list[Path]:
    given = [config_dir] if isinstance(config_dir, str | Path) else list(config_dir or [])
    folders = [Path(folder).resolve() for folder in given]
    if gone := [folder for folder in folders if not folder.is_dir()]:
        raise VTBError(f"--config-dir {gone[0]}: no such folder")
    return [*(folder for folder in folders if folder != shipped), shipped]


def _primary(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """The config to compose, for one in a folder to which a group of the top folder is added.

    Hydra looks for a group that is added (``+cluster=slurm``) beside the config, so that ``recipes/public`` would have
    to bring a ``recipes/cluster``: there, it is composed from a config of the top folder that holds nothing else.
    """
    from hydra.core.config_store import ConfigStore

    beside = config_name.rpartition("/")[0]
    added = [word[1:].lstrip("+").partition("=")[0].partition("@")[0] for word in overrides if word.startswith("+")]
    if not beside or not any(
        any((folder / group).is_dir() for folder in folders)
        and not any((folder / beside / group).is_dir() for folder in folders)
        for group in added
        if group
    ):
        return config_name
    name = config_name.replace("/", "_")
    ConfigStore.instance().store(name=name, node={"defaults": [f"/{config_name}"]}, provider="nemo_vtb")
    return name


def _searchpaths(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The entries of a ``hydra.searchpath=[...]`` among the overrides, and the other overrides."""
    own: list[str] = []
    rest = []
    for override in overrides:
        if override.startswith(_SEARCHPATH):
            own += [
                entry.strip() for entry in override.removeprefix(_SEARCHPATH).strip("[]").split(",") if entry.strip()
            ]
        else:
            rest.append(override)
    return own, rest


def _applied(error: Exception) -> str:
    """The override that Hydra was at work on when an exception was raised; empty where it was at none."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        # Of a run in a sweep, no frame has one: what it raises stays as it is.
        found = getattr(trace.tb_frame.f_locals.get("override"), "input_line", None) or found
        trace = trace.tb_next
    return found


def _misfit(override: str, error: Exception) -> str:
    key = override.partition("=")[0].lstrip("+~")
    if "Config group override" in str(error):
        return f"'{override}': {key} is a group of configs, of which a name is chosen: {key}=NAME (vtb config list)"
    return (
        f"'{override}' does not fit ({first_line(error)}): entries of a list are named by their number from 0, and a "
        "list is given whole as KEY=[a,b]"
    )


def _said(error: Exception, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """Hydra's message as one line, and its remedy where that is one of the command line of Hydra's programs."""
    said = str(sentence(error))
    if "Ambiguous value for argument" in said:
        key = said.partition("'")[2].partition("=")[0]
        return (
            f"{key}= has several values: {key}=[a,b] for a list, {key}='\"a,b\"' for a text; a run for each of them: "
            "vtb train --multirun, or python examples/vtb_train.py --multirun"
        )
    if type(error).__name__ == "OverrideParseException":
        given = getattr(error, "override", "")
        return f"'{given}' is no override: key=value, +key=value for a new key, ~key to remove one"
    # Hydra takes an override of a key for one of a config group wherever a folder has that name.
    names = [override.partition("=")[0] for override in overrides]
    taken = [folder / name for folder in folders for name in names if name and (folder / name).is_dir()]
    return said + (f" (the folder {taken[0]} makes {taken[0].name}= a config group: rename it)" if taken else "")
