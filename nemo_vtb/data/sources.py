"""A source of conversations: rows of one file, addressable by index, drawn per epoch."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.config import check_keys
from nemo_vtb.data.conversations import Draw, RowParser
from nemo_vtb.data.prompt_pool import PromptPool
from nemo_vtb.data.rows import BadRows, parsed_rows
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import corpora_dir

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

# Data type -> (RowParser method, the key that names the file), in NeMo's words.
TYPES = {
    "multimodal_conversation": ("conversation", "manifest_filepath"),
    "share_gpt": ("share_gpt", "manifest_filepath"),
    "nemo_sft_jsonl": ("nemo_sft", "paths"),
    "nemo": ("manifest", "manifest_filepath"),
}
_KEYS = ("type", "manifest_filepath", "paths", "weight", "name", "only", "prompts")


class ConversationSource:
    """The conversations of one ``input_cfg`` entry.

    Args:
        name: What it is counted under.
        draws: One draw per row.
        weight: Its share among the sources of its kind, in conversations.
        bad: What was skipped while reading.
    """

    def __init__(self, name: str, draws: list[Draw], weight: float, bad: BadRows) -> None:
        self.name, self.weight, self.bad = name, weight, bad
        self._draws = draws

    def __len__(self) -> int:
        return len(self._draws)

    def draw(self, index: int, epoch: int) -> "NeMoMultimodalConversation":
        """Returns row ``index`` as it is in ``epoch``."""
        return self._draws[index](epoch)


def read_source(
    entry: Mapping[str, Any],
    kind: str,
    audio_tag: str,
    frame_seconds: float,
    max_seconds: float = 30.0,
    max_bad_share: float = 0.0,
) -> ConversationSource:
    """Reads one ``input_cfg`` entry.

    Args:
        entry: ``type``, ``manifest_filepath`` (or ``paths``), and optionally ``weight``, ``name``, ``prompts`` (a pool
            file) and ``only`` (row fields that must have a value, e.g. ``{split: train}``).
        kind: The kind its conversations belong to.
        audio_tag: The placeholder of an audio turn.
        frame_seconds: Audio per LLM position.
        max_seconds: Longest clip accepted.
        max_bad_share: Share of rows that may be skipped.

    Raises:
        VTBError: On an unknown type or key, a missing file, or too many bad rows.
    """
    check_keys(entry, _KEYS, f"blend.kinds.{kind}.input_cfg")
    data_type = entry.get("type", "multimodal_conversation")
    if data_type not in TYPES:
        raise VTBError(f"blend.kinds.{kind}: unknown type '{data_type}'; known: {', '.join(TYPES)}")
    method, key = TYPES[data_type]
    if entry.get(key) is None:
        raise VTBError(f"blend.kinds.{kind}: an entry of type {data_type} needs {key}")
    named = entry[key] if isinstance(entry[key], str) else list(entry[key])
    paths = [locate(path) for path in ([named] if isinstance(named, str) else named)]
    name = entry.get("name") or paths[0].parent.name
    parser = RowParser(kind, name, audio_tag, frame_seconds, max_seconds, PromptPool(entry.get("prompts")))
    only = dict(entry.get("only") or {})
    bad = BadRows(max_bad_share)
    draws: list[Draw] = []
    for path in paths:
        parse = partial(_filtered, getattr(parser, method), only, path.parent)
        draws += [draw for draw in parsed_rows(path, parse, bad) if draw is not None]
    if not draws:
        raise VTBError(f"blend.kinds.{kind}: no conversation left in {', '.join(map(str, paths))} with only={only}")
    return ConversationSource(name, draws, float(entry.get("weight", len(draws))), bad)


def locate(path: str) -> Path:
    """Resolves a path; ``corpora:`` stands for the folder of corpora shipped with the repository.

    Raises:
        VTBError: If the shipped corpora are not there.
    """
    if not path.startswith("corpora:"):
        return Path(path).expanduser()
    folder = corpora_dir()
    if folder is None:
        raise VTBError(
            f"{path}: the corpora travel with the repository (examples/corpora), not with the installed package; "
            "clone it, or name your own data"
        )
    return folder / path.removeprefix("corpora:")


def _filtered(parse: Any, only: dict[str, Any], folder: Path, row: dict[str, Any], where: str) -> Draw | None:
    if any(row.get(field) not in (value if isinstance(value, list) else [value]) for field, value in only.items()):
        return None
    return parse(row, where, folder)
