"""A source of conversations: rows of JSONL files, opened through an index, parsed when they are drawn."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nemo.utils import logging

from nemo_vtb.config import check_keys
from nemo_vtb.data.augmentation import Augmentation
from nemo_vtb.data.conversations.chat_rows import RowContext
from nemo_vtb.data.conversations.size import Encoder, Size, Weigher
from nemo_vtb.data.conversations.turns import ClipRules
from nemo_vtb.data.files.entries import weights_apart
from nemo_vtb.data.files.locations import source_name
from nemo_vtb.data.files.rows import BadRows
from nemo_vtb.data.options import Entry, check_entry
from nemo_vtb.data.sources.formats import RowFile, row_files
from nemo_vtb.data.sources.index import RowIndex, open_index
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Key
from nemo_vtb.paths import config_dir

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

_KEYS = [field.name for field in fields(Entry)]
GROUP_KEYS = {
    "type": Key("group", "Says that it is one."),
    "input_cfg": Key("a list of entries", "Its sources, or groups of them."),
    "weight": Key("float or null", "Of the group among the entries of its level.", None),
    "name": Key("str or null", "For people.", None),
}


@dataclass(frozen=True)
class Reading:
    """How every source of a section is read.

    Attributes:
        audio_tag: The placeholder of an audio turn.
        frame_seconds: Audio per LLM position.
        max_seconds: Longest clip accepted.
        max_bad_share: Share of rows that may be skipped; 0 stops at the first.
        max_total: LLM positions that the longest conversation may have; None sets no limit.
        encoder: Gives lengths; without one, sizes are 0 and ``max_total`` means nothing.
        min_seconds: Shortest clip accepted.
    """

    audio_tag: str
    frame_seconds: float
    max_seconds: float = 30.0
    max_bad_share: float = 0.0
    max_total: int | None = None
    encoder: Encoder | None = None
    min_seconds: float = 0.1

    @property
    def weigh(self) -> Callable[[Any], Size] | None:
        """Measures a conversation; None without an encoder."""
        if self.encoder is None:
            return None
        return Weigher(self.encoder, self.frame_seconds)


class ConversationSource:
    """The conversations of one ``input_cfg`` entry.

    Args:
        name: What it is counted under.
        index: Where its rows are and how long.
        weight: Its share among the sources of its kind, in conversations.
        bad: What was skipped when the index was made.
        max_total: Longer conversations are left out, as rows that are too long.

    Attributes:
        augmentation: What is done to its clips when they are drawn, if anything.
    """

    def __init__(self, name: str, index: RowIndex, weight: float, bad: BadRows, max_total: int | None = None) -> None:
        self.name, self.weight, self.bad = name, weight, bad
        self._index = index
        self.augmentation: Augmentation | None = None
        self._kept: np.ndarray | None = None
        if max_total is not None and (too_long := index.rows["total"] > max_total).any():
            self._kept = np.flatnonzero(~too_long).astype(np.int32)
            worst = int(np.argmax(index.rows["total"]))
            total = int(index.rows["total"][worst])
            message = f"{index.where(worst)}: {total} LLM positions, batch_tokens allows {max_total}"
            _skip(bad, "too long", message, int(too_long.sum()))
        bad.good += len(self)

    def __len__(self) -> int:
        return len(self._index.rows) if self._kept is None else len(self._kept)

    @property
    def fingerprint(self) -> str:
        """Rows and a digest of the files' contents and all lengths: what an exact resume needs unchanged."""
        return f"{len(self)} rows, {self._index.contents.digest}"

    def draw(self, index: int, epoch: int) -> "NeMoMultimodalConversation":
        """Reads row ``index`` and returns it as it is in ``epoch``.

        Raises:
            BadRow: If the row has become unusable since the index was made.
        """
        conversation = self._index.draw(self._row(index))(epoch)
        if self.augmentation is None:
            return conversation
        return self.augmentation.draw(conversation, index, epoch, self._lengths(np.array([index]))[0])

    def where(self, index: int) -> str:
        """Returns where a row is, for people: ``file:line``."""
        return self._index.where(self._row(index))

    def size(self, index: int) -> Size:
        """Lengths of one row, from the index alone."""
        entry = self._index.rows[self._row(index)]
        return Size(int(entry["total"]), int(entry["supervised"]), float(entry["audio_seconds"]))

    def sizes(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Lengths of many rows, from the index alone.

        Args:
            indices: int64 ``(rows,)``.
            epoch: Texts are those of epoch 0 in every epoch: a wording drawn anew moves them by a token or two. Clips
                have the speed of the epoch.

        Returns:
            float64 ``(rows, 3)``: LLM positions in all, supervised ones, seconds of audio.
        """
        lengths = self._lengths(indices)
        return lengths[:, :3] if self.augmentation is None else self.augmentation.sizes(lengths, indices, epoch)

    def _lengths(self, indices: np.ndarray) -> np.ndarray:
        found = self._index.rows[indices if self._kept is None else self._kept[indices]]
        columns = [found[name].astype(np.float64) for name in ("total", "supervised", "audio_seconds", "clips")]
        return np.stack(columns, axis=1)

    def _row(self, index: int) -> int:
        return index if self._kept is None else int(self._kept[index])


def read_source(
    entry: Mapping[str, Any],
    kind: str,
    audio_tag: str,
    frame_seconds: float,
    max_seconds: float = 30.0,
    max_bad_share: float = 0.0,
    max_total: int | None = None,
    encoder: Encoder | None = None,
) -> ConversationSource:
    """Opens one ``input_cfg`` entry; ``Reading`` says what the other arguments mean."""
    return open_source(entry, kind, Reading(audio_tag, frame_seconds, max_seconds, max_bad_share, max_total, encoder))


def open_source(entry: Mapping[str, Any], kind: str, reading: Reading) -> ConversationSource:
    """Opens one ``input_cfg`` entry.

    Args:
        entry: ``type``, the files it needs and how to read them (see ``formats.py``), ``weight`` and ``name``.
        kind: The kind its conversations belong to.
        reading: How it is read.

    Raises:
        VTBError: On an unknown type or key, a missing file, or too many bad rows.
    """
    name, files = named_files(entry, kind, reading)
    index = open_index(files, reading.weigh, _key(entry, kind, reading), f"{kind}/{name}")
    bad = BadRows(reading.max_bad_share)
    for reason, count in index.contents.reasons.items():
        _skip(bad, reason, index.contents.first[reason], count)
    for message, count in sorted(index.contents.notes.items()):
        logging.warning(f"nemo_vtb: {kind}/{name}: {message} ({count} rows)")
    source = ConversationSource(name, index, 1.0, bad, reading.max_total)
    paths = ", ".join(str(file.path) for file in files)
    bad.check(paths)
    if not len(source):
        raise VTBError(f"blend.kinds.{kind}: no conversation left in {paths} with only={entry.get('only')}")
    return source


def named_files(entry: Mapping[str, Any], kind: str, reading: Reading) -> tuple[str, list[RowFile]]:
    """Returns what an ``input_cfg`` entry is counted under, and its files.

    Raises:
        VTBError: On an unknown type or key.
    """
    where = f"blend.kinds.{kind}.input_cfg"
    check_keys(entry, _KEYS, where)
    check_entry(entry, where)
    name = entry.get("name") or source_name(entry)
    rules = ClipRules(reading.audio_tag, reading.min_seconds, reading.max_seconds)
    learn, keep_empty = entry.get("learn") or "all", bool(entry.get("keep_empty"))
    tags = {key: value for key, value in (entry.get("tags") or {}).items() if value is not None}
    context = RowContext(kind, name, rules, reading.frame_seconds, tags, learn, keep_empty)
    return name, row_files(entry, context)


def read_sources(
    entries: Sequence[Mapping[str, Any]], kind: str, reading: Reading, temperature: float | Sequence[float] = 1.0
) -> list[ConversationSource]:
    """Opens the entries of an ``input_cfg``, groups within groups included, and works out their weights.

    As in NeMo, weights of one level are raised to the level's temperature and then add up to 1; unlike there, entries
    without a weight weigh as many as they have conversations.

    Args:
        entries: Entries, or groups: ``{type: group, input_cfg: [...], weight: 2}``.
        kind: The kind of all of them.
        reading: How they are read.
        temperature: One for all levels, or one per level from the outside in (``reweight_temperature``).

    Raises:
        VTBError: As ``open_source``; if some entries of a level have weights and others not, or one is not above 0.
    """
    where = f"blend.kinds.{kind}.input_cfg"
    if not entries:
        raise VTBError(f"{where} is empty")
    own, inner = (temperature, temperature) if isinstance(temperature, (int, float)) else _levels(temperature, where)
    parts = []
    for entry in entries:
        if entry.get("type") == "group":
            check_keys(entry, GROUP_KEYS, where)
            parts.append(read_sources(entry["input_cfg"], kind, reading, inner))
        elif (files := weights_apart(entry, where)) != [entry]:
            # As in NeMo, the temperature is for weights of entries.
            parts.append(read_sources(files, kind, reading))
        else:
            parts.append([open_source(entry, kind, reading)])
    given = [entry.get("weight") for entry in entries]
    if any(weight is None for weight in given) and not all(weight is None for weight in given):
        raise VTBError(f"{where}: give all entries of a level a weight, or none")
    if not all(weight is None or float(weight) > 0 for weight in given):
        raise VTBError(f"{where}: weights must be above 0, not {given}")
    raw = [sum(map(len, part)) if weight is None else float(weight) for part, weight in zip(parts, given, strict=True)]
    tempered = [weight**own for weight in raw]
    for part, weight in zip(parts, tempered, strict=True):
        for source in part:
            source.weight *= weight / sum(tempered)
    return [source for part in parts for source in part]


def _levels(temperature: Sequence[float], where: str) -> tuple[float, Sequence[float]]:
    if not temperature:
        raise VTBError(f"{where}: reweight_temperature has fewer entries than there are levels of groups")
    return float(temperature[0]), temperature[1:]


def _skip(bad: BadRows, reason: str, message: str, count: int) -> None:
    bad.skip(reason, message)
    bad.reasons[reason] += count - 1


def _key(entry: Mapping[str, Any], kind: str, reading: Reading) -> str:
    """Everything an index depends on but the files' contents: another reading is another index."""
    prompts = entry.get("prompts")
    own_prompts = Path(prompts).read_text(encoding="utf-8") if prompts and Path(prompts).is_file() else ""
    encoding = reading.encoder.encoding_key() if reading.encoder is not None else ""
    clips = [reading.audio_tag, reading.frame_seconds, reading.min_seconds, reading.max_seconds]
    named = {key: value for key, value in entry.items() if key not in ("weight", "name")}
    return json.dumps([named, kind, clips, own_prompts, encoding, _code_digest()], sort_keys=True)


@cache
def _code_digest() -> str:
    """Of the parsers and the shipped wordings: an index made by another version is made anew."""
    package = Path(__file__).parents[2]
    code = [file for room in ("data", "parts") for file in (package / room).rglob("*.py")]
    code += (config_dir() / "prompts").glob("*")
    digest = blake2b(digest_size=8)
    for path in sorted(code):
        digest.update(path.read_bytes())
    return digest.hexdigest()
