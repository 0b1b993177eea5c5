"""What a blend trains on: kinds, shares, sources, and the licences and languages that their own cards state."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemo_vtb.data.files.entries import kind_entries, weights_apart
from nemo_vtb.data.files.locations import expand, locate
from nemo_vtb.errors import VTBError

_FILES = ("manifest_filepath", "paths", "cuts_path", "shar_path", "data_dir")


def trained_on(blend: Mapping[str, Any]) -> dict[str, Any]:
    """Describes a section ``blend`` in words that hold on other machines.

    Licence and languages of a source are what the YAML front matter of the ``README.md`` in its folder says
    (``license``, ``language``), the convention of dataset cards on the Hugging Face hub; an entry's ``only.lang``
    goes before that.

    Args:
        blend: As plain values.

    Returns:
        ``unit``; and ``kinds``: by kind ``share`` and ``sources``, each with ``name`` (folder and file),
        ``licences`` and ``languages``.
    """
    kinds = blend.get("kinds") or {}
    return {
        "unit": blend.get("unit", "supervised_tokens"),
        "kinds": {
            kind: {"share": section.get("share"), "sources": list(_sources(_entries(kinds, kind)))}
            for kind, section in kinds.items()
        },
    }


def _entries(kinds: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    try:
        return kind_entries(kinds, kind, "blend.kinds")
    except OSError as error:
        raise VTBError(f"the card cannot name the data: {error.filename}: {error.strerror}") from error


def _sources(entries: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for source in _described(entry):
            known = found.setdefault(source["name"], source)
            known["languages"] = _once([*known["languages"], *source["languages"]])
    yield from found.values()


def _described(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The sources of a group, or each file of an entry and the bank that its sentences are spoken by."""
    if entry.get("type") == "group":
        yield from _sources(entry["input_cfg"])
        return
    yield from map(_source, weights_apart(entry, "blend.kinds"))
    if bank := (entry.get("speak") or {}).get("bank"):
        yield _source({"manifest_filepath": bank})


def _source(entry: Mapping[str, Any]) -> dict[str, Any]:
    named = next((entry[key] for key in _FILES if entry.get(key) is not None), "")
    named = next(iter(named.values()), "") if isinstance(named, Mapping) else named
    file = next(iter(expand(named)), "") if named else ""
    stated = _front_matter(file) if file else {}
    only = (entry.get("only") or {}).get("lang")
    return {
        "name": "/".join(file.removeprefix("corpora:").split("/")[-2:]) or "unnamed",
        "licences": _listed(stated.get("license")),
        "languages": _listed(only if only is not None else stated.get("language")),
    }


def _front_matter(named: str) -> dict[str, Any]:
    from huggingface_hub import DatasetCard
    from yaml import YAMLError

    try:
        file = locate(named)
    except VTBError:  # on another machine, as the corpora may be
        return {}
    card = (file if file.is_dir() else file.parent) / "README.md"
    try:
        return DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict() if card.is_file() else {}
    except (OSError, ValueError, YAMLError) as error:
        raise VTBError(f"{card}: its YAML front matter cannot be read: {' '.join(str(error).split())}") from error


def _listed(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list | tuple) else [] if value is None else [str(value)]


def _once(names: Any) -> list[str]:
    return list(dict.fromkeys(names))
