"""The ``input_cfg`` entries of a kind as plain values, with what ``speak`` adds to them."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.errors import VTBError

_WEIGHED = ("manifest_filepath", "shar_path")
_TARS = "tarred_audio_filepaths"


def kind_entries(kinds: Mapping[str, Any], kind: str, where: str) -> list[dict[str, Any]]:
    """Returns the entries of a kind as plain values.

    ``speak`` applies to all of them; with ``speak.from`` the chats of another kind are spoken as well.

    Args:
        kinds: The ``kinds`` section.
        kind: One of its keys.
        where: The section's path in the config, for messages.

    Raises:
        VTBError: If there is nothing to read, or ``speak.from`` names no other kind.
    """
    section = kinds[kind]
    speak = section.get("speak")
    entries = _own(section, f"{where}.{kind}")
    if speak is not None:
        speak = OmegaConf.to_container(speak, resolve=True) if isinstance(speak, DictConfig) else dict(speak)
        if (other := speak.pop("from", None)) is not None:
            if other not in kinds or other == kind:
                raise VTBError(f"{where}.{kind}.speak.from is '{other}'; the other kinds are {_others(kinds, kind)}")
            entries = entries + _own(kinds[other], f"{where}.{other}")
        entries = [_with_speak(entry, speak) for entry in entries]
    if not entries:
        raise VTBError(f"missing config key {where}.{kind}.input_cfg")
    return entries


def _own(section: Any, where: str) -> list[dict[str, Any]]:
    if (isinstance(section, DictConfig) and OmegaConf.is_missing(section, "input_cfg")) or not section.get("input_cfg"):
        return []
    return _opened(section["input_cfg"], f"{where}.input_cfg")


def _opened(given: Any, where: str) -> list[dict[str, Any]]:
    """Entries, those of groups within them included; as in NeMo, either may stand in a YAML file."""
    where = f"{where}, the file {given}," if isinstance(given, str) else where
    entries = OmegaConf.load(given) if isinstance(given, str) else given
    plain: Any = OmegaConf.to_container(entries, resolve=True) if OmegaConf.is_config(entries) else entries
    if not isinstance(plain, list | tuple) or not all(isinstance(entry, Mapping) for entry in plain):
        raise VTBError(
            f"{where} has to be a list of entries, such as [{{type: nemo, manifest_filepath: FILE}}], "
            f"not {shorten(str(plain), 120)}"
        )
    return [
        {**entry, "input_cfg": _opened(_inner(entry), f"{where} of a group")} if entry.get("type") == "group" else entry
        for entry in plain
    ]


def weights_apart(entry: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """The entries that one stands for whose files NeMo weighs one by one: ``[[path, weight], ...]``; else itself.

    Args:
        entry: No group.
        where: The path of its list in the config, for messages.

    Raises:
        VTBError: If only some files have a weight, or there is not one list of tars for each.
    """
    key = next((key for key in _WEIGHED if any(map(_is_weighed, _list(entry.get(key))))), None)
    if key is None:
        return [entry]
    files, tars = entry[key], _list(entry.get(_TARS))
    if not all(map(_is_weighed, files)):
        raise VTBError(f"{where}.{key}: give each file a weight, or none: {files}")
    if entry.get(_TARS) is not None and len(tars) != len(files):
        raise VTBError(f"{where}.{key} weighs {len(files)} files; {_TARS} needs as many lists, not {entry[_TARS]}")
    apart = [{**entry, key: path, "weight": weight} for path, weight in files]
    return [{**one, _TARS: tar} for one, tar in zip(apart, tars, strict=True)] if tars else list(apart)


def _is_weighed(file: Any) -> bool:
    # A weight that is written as text is one too, and is refused by its key.
    return (
        isinstance(file, list | tuple) and len(file) == 2 and (isinstance(file[1], int | float) or _is_number(file[1]))
    )


def _is_number(text: Any) -> bool:
    return isinstance(text, str) and text.strip().replace(".", "", 1).isdecimal()


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _with_speak(entry: dict[str, Any], speak: dict[str, Any]) -> dict[str, Any]:
    if entry.get("type") == "group":
        return {**entry, "input_cfg": [_with_speak(inner, speak) for inner in _inner(entry)]}
    return {**entry, "speak": speak}


def _inner(entry: Mapping[str, Any]) -> Any:
    return entry.get("input_cfg") or []


def _others(kinds: Mapping[str, Any], kind: str) -> str:
    return ", ".join(str(name) for name in kinds if name != kind)
