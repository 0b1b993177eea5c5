"""Keys of a job's config as a dataclass, checked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError

Options = TypeVar("Options")
# Of conf/synth/common.yaml.
JOB_KEYS = "out seed shard_size processes part max_bad_share tar_shards".split()


def read_options(
    kind: type[Options], section: Mapping[str, Any], where: str = "", others: Iterable[str] = ()
) -> Options:
    """Takes the keys of a dataclass out of a section.

    Args:
        kind: A dataclass whose nested dataclasses are not frozen: OmegaConf cannot fill in those.
        section: Of the config.
        where: Name of the section; empty for the whole config.
        others: Keys that somebody else reads.

    Raises:
        VTBError: Names the key that is unknown, missing or of a wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = fields(kind)  # type: ignore[arg-type]
    check_keys(section, [*others, *(field.name for field in known)], where or "config")
    needed = [field.name for field in known if field.default is MISSING and field.default_factory is MISSING]
    begin = f"{where}." if where else ""
    if absent := [name for name in needed if name not in section]:
        raise VTBError(f"missing config key {begin}{absent[0]}; begin with a config of conf/synth")
    given = {field.name: section[field.name] for field in known if field.name in section}
    try:
        options: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), given))
    except OmegaConfBaseException as error:
        raise VTBError(f"{begin}{error.full_key or 'config'}: {str(error).splitlines()[0]}") from error
    assert isinstance(options, kind)
    return options


def part_of(text: Any) -> tuple[int, int]:
    """Reads ``0/4``: number and how many.

    Raises:
        VTBError: If it is no part.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", str(text))
    if match and int(match[1]) < int(match[2]):
        return int(match[1]), int(match[2])
    raise VTBError(f"part={text}: parts are numbered from 0, as in part=0/4")
