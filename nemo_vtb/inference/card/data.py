"""What a model was trained on, for its card: kinds, shares, sources, and the licences their own cards state."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nemo_vtb.data.files.locations import expand, locate
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.lora import DEFAULT_RANK
from nemo_vtb.paths import corpora_dir

NOT_STATED = "not stated"
_FILES = ("manifest_filepath", "paths", "cuts_path", "shar_path")
# PEFT's, where a section `lora` names none.
_ALPHA = 8
# Those that let a model be passed on under any terms, as long as credit is given.
_PERMISSIVE = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cdla-permissive-2.0", "cc-by-")


def lora_rank(section: Mapping[str, Any]) -> int | None:
    """The rank of a section ``model``, as ``nemo_vtb.parts.lora.lora_settings`` trains it; None without LoRA."""
    lora = section.get("lora")
    return None if lora is None else lora.get("r", DEFAULT_RANK)


def lora_scale(section: Mapping[str, Any]) -> float:
    """By what LoRA's product is multiplied; PEFT's own defaults, where the section leaves them open."""
    lora, rank = section["lora"], lora_rank(section) or DEFAULT_RANK
    return lora.get("lora_alpha", _ALPHA) / (rank**0.5 if lora.get("use_rslora") else rank)


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


def licence_of(names: list[str]) -> str:
    """The licence that weights can be passed on under, given those of the LLM, the encoder and the data.

    Where one asks for the same terms (CC BY-SA) it is that one, to be on the safe side; ``other`` where one is not
    known or asks for more than credit.
    """
    plain = {name.lower() for name in names}
    asking = ("-nc", "-nd", "-sa")
    strict = sorted(name for name in plain if not name.startswith(_PERMISSIVE) or any(part in name for part in asking))
    shared = [name for name in strict if name.startswith("cc-by-sa-")]
    if not strict:
        return "apache-2.0"
    return shared[-1] if strict == shared else "other"


def licences(data: Mapping[str, Any] | None) -> list[str]:
    """All licences of the data once each, ``not stated`` among them where a source has none."""
    if data is None:
        return [NOT_STATED]
    return _once(name for source in _all(data) for name in source["licences"] or [NOT_STATED])


def languages(data: Mapping[str, Any] | None) -> list[str]:
    """All languages of the data once each."""
    return _once(name for source in _all(data or {}) for name in source["languages"])


def sources_without_licence(data: Mapping[str, Any] | None) -> list[str]:
    """Names of the sources whose folder states none."""
    return _once(source["name"] for source in _all(data or {}) if not source["licences"])


def _entries(kinds: Mapping[str, Any], kind: str) -> list[Any]:
    """Entries of a kind, those of the kind whose chats it speaks, and the bank it speaks with."""
    section = kinds[kind]
    speak = section.get("speak") or {}
    others = kinds.get(str(speak.get("from"))) or {}
    found = [part for of in (section, others) for part in _opened(of.get("input_cfg"))]
    return [*found, *([{"manifest_filepath": speak["bank"]}] if speak.get("bank") else [])]


def _opened(entries: Any) -> list[Any]:
    if not isinstance(entries, str):
        return list(entries or [])
    from omegaconf import OmegaConf

    try:
        loaded: Any = OmegaConf.to_container(OmegaConf.load(entries), resolve=True)
    except OSError as error:
        raise VTBError(f"the card cannot name the data: {entries}: {error.strerror}") from error
    return loaded


def _sources(entries: list[Any]) -> Iterator[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        described = list(_sources(_opened(entry["input_cfg"]))) if entry.get("type") == "group" else [_source(entry)]
        for source in described:
            known = found.setdefault(source["name"], source)
            known["languages"] = _once([*known["languages"], *source["languages"]])
    yield from found.values()


def _source(entry: Mapping[str, Any]) -> dict[str, Any]:
    named = next((entry[key] for key in _FILES if entry.get(key) is not None), "")
    named = next(iter(named.values())) if isinstance(named, Mapping) else named
    file = Path(expand(named)[0]) if named else Path("unnamed")
    # The corpora need not be where a model is exported.
    missing = str(file).startswith("corpora:") and corpora_dir() is None
    stated = {} if missing else _front_matter(locate(str(file)))
    only = (entry.get("only") or {}).get("lang")
    return {
        "name": "/".join(str(file).removeprefix("corpora:").split("/")[-2:]),
        "licences": _listed(stated.get("license")),
        "languages": _listed(only if only is not None else stated.get("language")),
    }


def _front_matter(file: Path) -> dict[str, Any]:
    from huggingface_hub import DatasetCard

    folder = file if file.is_dir() else file.parent
    card = folder / "README.md"
    if not card.is_file():
        return {}
    try:
        return DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict()
    except ValueError as error:
        raise VTBError(f"{card}: its YAML front matter cannot be read: {error}") from error


def _all(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for section in data.get("kinds", {}).values():
        yield from section["sources"]


def _listed(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list | tuple) else [] if value is None else [str(value)]


def _once(names: Any) -> list[str]:
    return list(dict.fromkeys(names))
