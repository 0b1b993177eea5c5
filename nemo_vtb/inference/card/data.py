"""What a model was trained on, for its card, and the licence and languages that follow."""

from collections.abc import Iterator, Mapping
from typing import Any

from nemo_vtb.data.inspection.trained_on import trained_on
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.lora import DEFAULT_RANK

NOT_STATED = "not stated"
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


def data_of(stored: Mapping[str, Any] | None, blend: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a checkpoint was trained on: as it stood where it trained, and what is stated of the files here besides.

    Args:
        stored: ``trained_on`` of the checkpoint, from the machine that trained it; None in those of before.
        blend: Its section ``blend``; None where it holds none.

    Returns:
        See ``nemo_vtb.data.inspection.trained_on.trained_on``; None where it is not known.

    Raises:
        VTBError: If only files that are not here could say it.
    """
    if blend is None:
        return None if stored is None else dict(stored)
    try:
        here = trained_on(blend)
    except VTBError:
        if stored is None:
            raise
        return dict(stored)
    known = {source["name"]: source for source in _all(stored or {})}
    for source in _all(here):
        for key in ("licences", "languages"):
            source[key] = source[key] or known.get(source["name"], {}).get(key, [])
    return here


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


def _all(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for section in data.get("kinds", {}).values():
        yield from section["sources"]


def _once(names: Any) -> list[str]:
    return list(dict.fromkeys(names))
