"""The data types of an ``input_cfg`` entry, in NeMo's words: which files hold the rows, and how a row is parsed."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nemo_vtb.data.audio.audio_stores import AudioFolder, AudioStore, AudioTar
from nemo_vtb.data.audio.tables import SUFFIXES, AudioTable
from nemo_vtb.data.conversations.chat_rows import ChatParser, Draw, RowContext
from nemo_vtb.data.conversations.clip_order import OrderedParse
from nemo_vtb.data.conversations.instructed import KINDS, UtteranceParser
from nemo_vtb.data.conversations.prompt_pool import PromptPool
from nemo_vtb.data.conversations.speak import SpokenParse, bank_paths, speaker
from nemo_vtb.data.files.locations import expand, locate, locate_folder
from nemo_vtb.data.files.notes import note
from nemo_vtb.data.files.rows import BadRow, parse_line
from nemo_vtb.data.row_forms.fields import Tracked, unread
from nemo_vtb.data.row_forms.plain import PlainRow, plain_row
from nemo_vtb.data.row_forms.switches import is_skipped
from nemo_vtb.data.sources.copies import NO_JSON
from nemo_vtb.data.sources.cuts import CutParser
from nemo_vtb.data.sources.looks import type_of
from nemo_vtb.errors import VTBError

# Parses a row given its position `file:line`; raises BadRow. None: the row is none of this source's.
ParseRow = Callable[[dict[str, Any], str], Draw | None]

# Types of rows that are conversations already, with the method of ChatParser that reads one.
CHAT_TYPES = {"multimodal_conversation": "conversation", "share_gpt": "share_gpt", "nemo_sft_jsonl": "nemo_sft",
         "share_gpt_webdataset": "share_gpt"}  # fmt: skip
_MANIFESTS = ("nemo", "nemo_tarred", "parquet")
_LHOTSE = ("lhotse", "lhotse_shar")
# NeMo converts either of the two above under these names; the kind says which conversation it becomes.
_CONVERTERS = ("lhotse_as_conversation", "sqa_as_conversation")
_OTHER_TYPES = (*_MANIFESTS, *_LHOTSE, *_CONVERTERS)
TYPES = (*CHAT_TYPES, *_OTHER_TYPES)
# The list of a WebDataset's tars.
WIDS = "wids-meta.json"
# The Hub's names of files, and of folders, begin with that of their split.
_SPLIT = re.compile(r"(train|training|test|testing|dev|valid|validation|eval)(?=$|[-_.])", re.IGNORECASE)
_SHAR_NUMBER = re.compile(r"\.(\d+)\.(?:jsonl|tar)")
_FILES = ("manifest_filepath", "paths", "tarred_audio_filepaths", "cuts_path", "shar_path", "data_dir")
_SHARD = re.compile(r"_(\d+)(?=[^/_]*\.(?:json|tar))")


@dataclass(frozen=True)
class RowFile:
    """A file of rows.

    Attributes:
        path: The file: JSON Lines, plain or ``.gz``, or what ``files/copies.py`` reads.
        parse: What makes a conversation of a row.
        others: Files that the conversations depend on too: tars and speech banks.
    """

    path: Path
    parse: ParseRow
    others: tuple[Path, ...] = ()


def parse_noting(file: RowFile, line: bytes, where: str) -> Draw | None:
    """Parses a line of a file, and notes the fields of its row that nothing reads.

    Raises:
        BadRow: If it cannot become a conversation.
    """
    row = parse_line(line, Tracked)
    draw = file.parse(row, where)
    if draw is not None and isinstance(row, Tracked):
        for name in unread(row):
            note("unread field", f"nothing reads '{name}'")
    return draw


def read_plain(file: RowFile, line: bytes, where: str) -> PlainRow | None:
    """Reads a line of the plainest shape; None where ``parse_noting`` has to be asked.

    Raises:
        BadRow: If it cannot become a conversation.
    """
    if (read := getattr(file.parse, "plain", None)) is None or (row := plain_row(line)) is None:
        return None
    return read(row, where)


def row_files(entry: Mapping[str, Any], context: RowContext) -> list[RowFile]:
    """Returns the files of an ``input_cfg`` entry.

    Args:
        entry: See ``nemo_vtb.data.options.Entry``; its type says which keys belong to it.
        context: What the rows share.

    Raises:
        VTBError: On an unknown type, a missing key, a kind that the type cannot give, or shards that do not pair up.
    """
    files = _files(entry, context)
    if (share := entry.get("audio_first")) is not None:
        files = [replace(file, parse=OrderedParse(file.parse, share)) for file in files]
    return list(_spoken(files, entry, context)) if entry.get("speak") else files


def _files(entry: Mapping[str, Any], context: RowContext) -> list[RowFile]:
    data_type = entry.get("type", "multimodal_conversation")
    if data_type not in (known := (*CHAT_TYPES, *_OTHER_TYPES)):
        raise VTBError(f"blend.kinds.{context.kind}: unknown type '{data_type}'; known: {', '.join(known)}")
    _check_files(entry, data_type, context)
    # What is to be spoken is text yet, whatever the kind that it becomes.
    written = context.kind == "text" or bool(entry.get("speak"))
    if data_type == "share_gpt_webdataset":
        parse = ChatParser(context, written).share_gpt
        only = entry.get("only") or {}
        return [RowFile(tar, _ParseSample(parse, AudioTar(tar), only), (tar,)) for tar in _web_dataset(entry, context)]
    if data_type in CHAT_TYPES:
        paths = _paths(entry, "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath", context)
        method = getattr(ChatParser(context, written), CHAT_TYPES[data_type])
        return list(_paired(entry, paths, method, context))
    if context.kind not in KINDS:
        raise VTBError(
            f"blend.kinds.{context.kind}: type {data_type} holds utterances; it gives {', '.join(KINDS)} only: "
            "name one of these as its kind"
        )
    pool = PromptPool(entry.get("prompts"))
    audio_field = entry.get("audio_field") or ("audio" if data_type == "parquet" else "audio_filepath")
    utterances = UtteranceParser(context, pool, entry.get("text_field"), entry.get("lang_field"), audio_field)
    if data_type in _MANIFESTS or entry.get("manifest_filepath") is not None:
        paths = _paths(entry, "manifest_filepath", context)
        return list(_paired(entry, paths, utterances.manifest, context))
    return list(_cuts(entry, CutParser(utterances), context))


def _check_files(entry: Mapping[str, Any], data_type: str, context: RowContext) -> None:
    """Refuses files that the entry's type would leave unread: it is another type, or another entry is meant."""
    named = [key for key in _FILES if entry.get(key) is not None]
    beside = ("tarred_audio_filepaths",) if "manifest_filepath" in named or "paths" in named else ()
    if len(several := [key for key in named if key not in beside]) > 1:
        raise VTBError(
            f"blend.kinds.{context.kind}: an entry of type {data_type} reads {several[0]} or {several[1]}: "
            "make an entry of each"
        )


def _spoken(files: list[RowFile], entry: Mapping[str, Any], context: RowContext) -> Iterator[RowFile]:
    """Every file once for each variant: a spoken variant of a conversation is a row of its own."""
    if entry.get("type", "multimodal_conversation") not in CHAT_TYPES:
        raise VTBError(f"blend.kinds.{context.kind}: speak turns chats into speech; type {entry['type']} holds speech")
    speaks, variants = speaker(entry["speak"], context.rules, str(context.tags.get("lang", "en")))
    banks = tuple(bank_paths(entry["speak"]))
    for variant in range(variants):
        for file in files:
            yield RowFile(file.path, SpokenParse(file.parse, speaks, variant), (*file.others, *banks))


def _paths(entry: Mapping[str, Any], key: str, context: RowContext) -> list[Path]:
    paths = expand(entry[key]) if entry.get(key) is not None else []
    if not paths:
        raise VTBError(f"blend.kinds.{context.kind}: an entry of type {entry.get('type')} needs {key}")
    return [file for path in paths for file in _in_folder(locate(path))]


def _in_folder(path: Path) -> list[Path]:
    """The tables of a folder that `datasets` has saved, or that holds nothing but tables; a file as it is."""
    if not path.is_dir():
        return [path]
    if (path / "dataset_dict.json").is_file():
        splits = sorted(part.parent.name for part in path.glob("*/state.json"))
        if not splits:
            raise VTBError(f"{path} has a dataset_dict.json and no split beside it: copy the whole folder")
        raise VTBError(f"{path} holds the splits {', '.join(splits)}: name one of them, such as {path / splits[0]}")
    if (state := path / "state.json").is_file():
        return _listed(state, "_data_files", "filename")
    files = [file for suffix in SUFFIXES for file in sorted(path.rglob(f"*{suffix}"))]
    if not files:
        raise VTBError(f"{path} is a folder without tables ({', '.join(SUFFIXES)}): name the files of rows in it")
    return _of_one_split(path, files)


def _of_one_split(folder: Path, files: list[Path]) -> list[Path]:
    """Refuses a folder that holds what is to be held out beside what is to be learnt, as copies of data sets do."""
    splits: dict[str, Path] = {}
    for file in files:
        named = map(_SPLIT.match, file.relative_to(folder).parts)
        splits.setdefault(next((match[1].lower() for match in named if match), ""), file)
    splits.pop("", None)
    if len(splits) < 2:
        return files
    held = ", ".join(f"{split} ({file.relative_to(folder)})" for split, file in splits.items())
    raise VTBError(f"{folder} holds several splits, {held}: name the files of one")


def listed_shards(meta: Path) -> list[Path]:
    """Returns the tars that a ``wids-meta.json`` lists.

    Raises:
        VTBError: If it is broken, or lists none.
    """
    return _listed(meta, "shardlist", "url")


def _listed(about: Path, key: str, name: str) -> list[Path]:
    """The files beside a JSON document that lists them."""
    try:
        held = json.loads(about.read_text(encoding="utf-8-sig"))
        listed = [about.parent / part[name] for part in held[key]]
    except (ValueError, RecursionError) as error:
        raise VTBError(f"{about} cannot be read as JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise VTBError(f'{about} lists no files: it needs {{"{key}": [{{"{name}": ...}}, ...]}}') from error
    if not listed:
        raise VTBError(f"{about} lists no files under '{key}'")
    if held.get("_indices_data_files"):  # of versions that wrote every row, and beside them which were selected
        raise VTBError(f"{about} selects rows of its files, which would all be read: save it anew (flatten_indices)")
    if absent := [file for file in listed if not file.is_file()]:
        raise VTBError(f"{about} lists {len(absent)} files that are not there, such as {absent[0]}")
    return listed


def _web_dataset(entry: Mapping[str, Any], context: RowContext) -> list[Path]:
    """The tars of a WebDataset, in the order of its ``wids-meta.json`` where there is one."""
    if not entry.get("data_dir"):
        raise VTBError(f"blend.kinds.{context.kind}: an entry of type share_gpt_webdataset needs data_dir")
    found = []
    for folder in map(locate, expand(entry["data_dir"])):
        if (meta := folder / WIDS).is_file():
            found += listed_shards(meta)
        else:
            found += [folder] if folder.suffix == ".tar" else _of_one_split(folder, sorted(folder.rglob("*.tar")))
    if not found:
        raise VTBError(f"{entry['data_dir']} holds neither a {WIDS} with shards nor a .tar")
    return found


def _paired(entry: Mapping[str, Any], paths: list[Path], method: Any, context: RowContext) -> Iterator[RowFile]:
    """Each file of rows with the store of its clips: the folder it is in, or the tar of the same number."""
    only, selector = entry.get("only") or {}, entry.get("channel_selector")
    if entry.get("tarred_audio_filepaths") is None:
        root = locate_folder(entry["audio_root"], "audio_root") if entry.get("audio_root") else None
        for path in paths:
            store = AudioTable(path, root) if path.suffix in SUFFIXES else AudioFolder(path.parent, root)
            store.selector = selector
            yield RowFile(path, _Parse(method, store, only))
        return
    tars = _paths(entry, "tarred_audio_filepaths", context)
    numbered = [_SHARD.search(path.name) for path in (*paths[:1], *tars[:1])]
    if len(paths) == 1 and (len(tars) > 1 or (len(tars) == 1 and numbered[1] and not numbered[0])):
        by_shard = {_shard_number(tar): AudioTar(tar, selector=selector) for tar in tars}
        if len(by_shard) < len(tars):
            raise VTBError(
                f"blend.kinds.{context.kind}: one manifest, and several tars of one number: "
                f"{', '.join(map(str, tars))}; name a manifest for each"
            )
        yield RowFile(paths[0], _ParseSharded(method, by_shard, only), tuple(tars))
        return
    if len(paths) != len(tars):
        raise VTBError(f"blend.kinds.{context.kind}: {len(paths)} manifests and {len(tars)} tars do not pair up")
    for path, tar in zip(paths, tars, strict=True):
        numbers = _SHARD.search(path.name), _SHARD.search(tar.name)
        if all(numbers) and len({match[1].lstrip("0") for match in numbers if match}) > 1:
            raise VTBError(f"blend.kinds.{context.kind}: {path} is paired with {tar}: their shard numbers differ")
        yield RowFile(path, _Parse(method, AudioTar(tar, selector=selector), only), (tar,))


def _cuts(entry: Mapping[str, Any], parser: CutParser, context: RowContext) -> Iterator[RowFile]:
    only, selector = entry.get("only") or {}, entry.get("channel_selector")
    if entry.get("shar_path") is None:
        root = locate_folder(entry["audio_root"], "audio_root") if entry.get("audio_root") else None
        for path in _paths(entry, "cuts_path", context):
            yield RowFile(path, _Parse(parser.plain, AudioFolder(path.parent, root, selector), only))
        return
    for cuts, tar in _shar_shards(entry["shar_path"], context):
        yield RowFile(cuts, _Parse(parser.shar, AudioTar(tar, by_stem=True, selector=selector), only), (tar,))


def _shar_shards(shar: Any, context: RowContext) -> Iterator[tuple[Path, Path]]:
    if isinstance(shar, Mapping):
        fields = {name: [locate(path) for path in expand(shar[name])] for name in ("cuts", "recording") if name in shar}
    else:
        folders = [locate(path) for path in expand(shar)]
        if absent := [folder for folder in folders if not folder.is_dir()]:
            raise VTBError(f"blend.kinds.{context.kind}: shar_path {absent[0]} is no folder")
        fields = {
            "cuts": [file for folder in folders for file in sorted(folder.glob("cuts.*.jsonl*"))],
            "recording": [file for folder in folders for file in sorted(folder.glob("recording.*.tar"))],
        }
    cuts, tars = fields.get("cuts", []), fields.get("recording", [])
    if not cuts or len(cuts) != len(tars):
        raise VTBError(
            f"blend.kinds.{context.kind}: shar_path {shar} holds {len(cuts)} files of cuts, {len(tars)} of clips"
        )
    for one, tar in zip(cuts, tars, strict=True):
        numbers = _SHAR_NUMBER.search(one.name), _SHAR_NUMBER.search(tar.name)
        if all(numbers) and len({int(match[1]) for match in numbers if match}) > 1:
            raise VTBError(f"blend.kinds.{context.kind}: {one} is paired with {tar}: their shard numbers differ")
    return zip(cuts, tars, strict=True)


def _shard_number(tar: Path) -> int:
    match = _SHARD.search(tar.name)
    if match is None:
        raise VTBError(f"{tar}: one manifest for many tars needs tars numbered like audio_3.tar")
    return int(match[1])


class _Parse:
    """Parses the rows of one file; rows that ``only`` or ``_skipme`` rule out give None."""

    def __init__(self, method: Any, store: AudioStore | None, only: Mapping[str, Any]) -> None:
        self._method, self._store = method, store
        self._plain = getattr(method.__self__, f"plain_{method.__name__}", None)
        self._only = {k: v if isinstance(v, Sequence) and not isinstance(v, str) else [v] for k, v in only.items()}

    def __call__(self, row: dict[str, Any], where: str) -> Draw | None:
        custom = row.get("custom")
        if any(row.get(name) not in values for name, values in self._only.items()):
            return None
        if is_skipped(row) or (isinstance(custom, dict) and is_skipped(custom)):
            return None
        try:
            return self._method(row, where, self._store_of(row))
        except BadRow as error:
            if error.reason in ("missing field", "clip in another field") and (looked := self._another_type(row)):
                raise BadRow(error.reason, f"{error}; the row looks like one of type: {looked}") from error
            raise

    def plain(self, row: dict[str, Any], where: str) -> PlainRow | None:
        """Reads a row as far as plain ones need it; None where ``__call__`` has to be asked.

        Raises:
            BadRow: As ``__call__``.
        """
        if self._only or self._plain is None:
            return None
        return self._plain(row, where, self._store_of(row))

    def _store_of(self, row: dict[str, Any]) -> AudioStore | None:
        return self._store

    def _another_type(self, row: dict[str, Any]) -> str | None:
        """The type whose rows look like this one, where that is another than the entry's."""
        looked, name = type_of(row), self._method.__name__
        chat = CHAT_TYPES.get(looked or "")
        return None if chat == name or (chat is None and name not in CHAT_TYPES.values()) else looked


class _ParseSample(_Parse):
    """Parses the samples of a WebDataset."""

    def __call__(self, row: dict[str, Any], where: str) -> Draw | None:
        if isinstance(why := row.get(NO_JSON), str):
            raise BadRow("broken JSON", why)
        if why:
            clips = ", ".join(row.get("sound") or ()) or "the sample"
            raise BadRow("missing field", f"no {row['id']}.json stands next to {clips}: nothing says what is asked")
        return super().__call__(row, where)


class _ParseSharded(_Parse):
    """Parses the rows of one manifest for many tars: each row names its shard, unless there is but one."""

    def __init__(self, method: Any, stores: Mapping[int, AudioStore], only: Mapping[str, Any]) -> None:
        super().__init__(method, None, only)
        self._stores = stores

    def _store_of(self, row: dict[str, Any]) -> AudioStore | None:
        shard: Any = row.get("shard_id")
        if shard is None and len(self._stores) == 1:
            return next(iter(self._stores.values()))
        if type(shard) not in (int, float) or shard not in self._stores:
            raise BadRow("missing audio", f"there is no tar of shard_id {shard!r}")
        return self._stores[int(shard)]
