"""Finds what is wrong with data before a training run does: every row parsed as in training, every clip decoded."""

import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from nemo_vtb.data.audio.audio_check import SILENCE, signal
from nemo_vtb.data.audio.audio_stores import tar_index
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.data.files.entries import weights_apart
from nemo_vtb.data.files.notes import NO_FAULT, Note, collect_notes, note
from nemo_vtb.data.files.rows import NOT_BAD, BadRow
from nemo_vtb.data.inspection.findings import Finding, LintResult
from nemo_vtb.data.inspection.text_check import Spellings, odd_words, token_pattern, written_names
from nemo_vtb.data.sources.copies import row_place
from nemo_vtb.data.sources.disk import open_rows
from nemo_vtb.data.sources.formats import RowFile
from nemo_vtb.data.sources.row_check import check_length, checked_row
from nemo_vtb.data.sources.sniff import check_lines
from nemo_vtb.data.sources.source import Reading, named_files
from nemo_vtb.data.worker_pool import worker_pool
from nemo_vtb.errors import VTBError

_LINES_AT_ONCE = 64
_READ_BYTES = 1 << 20
_RATE = 16_000
_LEFT_OUT = Note("row left out", "only or _skipme leaves it out")


@dataclass(frozen=True)
class _Task:
    """How the rows of one source are checked."""

    files: list[RowFile]
    reading: Reading
    decode: bool
    special: re.Pattern[str]

    def __call__(self, chunk: "_Chunk") -> "_Found":
        """What some lines hold."""
        file = self.files[chunk.file]
        found = _Found()
        for number, line in enumerate(chunk.lines, start=chunk.line):
            if not line.strip():
                continue
            where = str(file.path), number
            try:
                with collect_notes() as noted:
                    conversation = self._taken(file, line, number)
            except BadRow as error:
                severity = "warning" if error.reason in NOT_BAD else "error"
                found.findings.append(Finding(*where, severity, error.reason, " ".join(str(error).split())))
                continue
            if conversation is None:
                count, first = found.notes.get(_LEFT_OUT, (0, number))
                found.notes[_LEFT_OUT] = count + 1, first
            else:
                found.ids.append((number, stable_hash(conversation.id)))
                found.names += [(number, name) for name in written_names(conversation)]
                odd = odd_words(conversation, self.special, self.reading.audio_tag)
                found.findings += [Finding(*where, "warning", *one) for one in odd]
            for one in noted:
                count, first = found.notes.get(one, (0, number))
                found.notes[one] = count + 1, first
        return found

    def _taken(self, file: RowFile, line: bytes, number: int) -> Any:
        """The conversation of a row as training takes it, its clips decoded; None where it is none of the source's."""
        try:
            row = checked_row(line, f"{file.path}:{number}", file, self.reading.weigh)
            if row is None:
                return None
            check_length(row.size, self.reading.max_total)
            for cut in row.conversation.list_cuts() if self.decode else ():
                _listen(cut)
        except BadRow:
            raise
        except VTBError as error:
            raise BadRow("unreadable row", str(error)) from error
        return row.conversation


@dataclass
class _Found:
    """What some lines hold.

    Attributes:
        findings: What is wrong with them.
        ids: Line and a hash of the id of each good row.
        names: Line and name, where a name may be written in several ways.
        notes: How many rows a note is true of, and the first of them.
    """

    findings: list[Finding] = field(default_factory=list)
    ids: list[tuple[int, int]] = field(default_factory=list)
    names: list[tuple[int, str]] = field(default_factory=list)
    notes: dict[Note, tuple[int, int]] = field(default_factory=dict)


def _listen(cut: Any) -> None:
    """Decodes a clip as training does."""
    samples = signal(cut, _RATE, cut.id)
    if float(samples.max() - samples.min()) / 2 < SILENCE:  # a constant is nothing that anybody hears
        note("silent clip", "a clip is silent: no sample is above -70 dB of full scale")


class _Chunk(NamedTuple):
    file: int
    line: int
    lines: list[bytes]


def lint_entry(
    entry: Mapping[str, Any],
    kind: str,
    reading: Reading,
    result: LintResult,
    decode: bool = True,
    special_tokens: Sequence[str] = (),
    processes: int | None = None,
) -> None:
    """Checks the files of an ``input_cfg`` entry, or of a group of them.

    Args:
        entry: The entry.
        kind: The kind its conversations belong to.
        reading: How it is read; with an encoder, lengths are checked too.
        result: What is found is added to it.
        decode: Also decode every clip.
        special_tokens: Texts that must not stand in anybody's words.
        processes: Processes to check with; as many as there are cores by default.

    Raises:
        VTBError: On an unknown type or key.
    """
    if entry.get("type") == "group":
        for inner in entry.get("input_cfg") or []:
            lint_entry(inner, kind, reading, result, decode, special_tokens, processes)
        return
    if (files_apart := weights_apart(entry, f"blend.kinds.{kind}.input_cfg")) != [entry]:
        for inner in files_apart:
            lint_entry(inner, kind, reading, result, decode, special_tokens, processes)
        return
    name, files = named_files(entry, kind, reading)
    result.files += [path for path in dict.fromkeys(str(file.path) for file in files) if path not in result.files]
    before, rows_before = len(result.findings), result.rows
    unreadable = _unreadable(files)
    result.findings += unreadable.values()
    readable = [file for number, file in enumerate(files) if number not in unreadable]
    result.findings += _damaged(readable)
    task = _Task(readable, reading, decode, token_pattern(special_tokens, reading.audio_tag))
    chunks = (chunk for number, file in enumerate(readable) for chunk in _chunks(number, file))
    seen: dict[int, tuple[str, int]] = {}
    notes: dict[tuple[str, Note], tuple[int, int]] = {}
    spellings = Spellings()
    bar = tqdm(desc=f"lint {kind}/{name}", unit=" rows", leave=False, delay=3.0)
    with bar, _mapper(task, processes) as run:
        for chunk, found in run(chunks):
            result.rows += sum(bool(line.strip()) for line in chunk.lines)
            result.findings += found.findings
            bar.update(len(chunk.lines))
            path = str(readable[chunk.file].path)
            for one, (count, line) in found.notes.items():
                held = notes.get((path, one), (0, line))
                notes[path, one] = held[0] + count, held[1]
            for line, written in found.names:
                if message := spellings.alike(written, row_place(path, line)):
                    result.findings.append(Finding(path, line, "warning", "names alike", message))
            for line, identity in found.ids:
                first = seen.setdefault(identity, (path, line))
                if first != (path, line):
                    message = f"{row_place(*first)} has the same id"
                    result.findings.append(Finding(path, line, "warning", "duplicate id", message))
    for (path, one), (count, line) in notes.items():
        message = f"{one.message} ({count} rows, this one first)"
        severity = "note" if one.reason in NO_FAULT or one == _LEFT_OUT else "warning"
        result.findings.append(Finding(path, line, severity, one.reason, message))
    if not seen and not any(finding.severity == "error" for finding in result.findings[before:]):
        left_out = any(one == _LEFT_OUT for _, one in notes)
        why = f"only={entry.get('only')} and _skipme leave out every row" if left_out else "no row can be used"
        why = why if result.rows > rows_before else "there is no row"
        place = str(files[0].path) if files else name
        result.findings.append(Finding(place, 0, "error", "nothing left", f"no conversation: {why}"))


def _unreadable(files: Sequence[RowFile]) -> dict[int, Finding]:
    """Files of which no row can be read, and why."""
    refused = {}
    for number, file in enumerate(files):
        try:
            check_lines(file.path)
            with open_rows(file.path) as lines:
                while file.path.suffix == ".gz" and lines.read(_READ_BYTES):
                    pass
            for tar in _tars(file):
                tar_index(tar)
        except (OSError, EOFError, zlib.error) as error:
            message = f"{file.path} cannot be read to its end: {error}"
            refused[number] = Finding(str(file.path), 0, "error", "unreadable file", message)
        except VTBError as error:
            refused[number] = Finding(str(file.path), 0, "error", "unreadable file", str(error))
    return refused


def _damaged(files: Sequence[RowFile]) -> Iterator[Finding]:
    """Tars that end too early: the rows of what is lost have findings of their own."""
    for tar in dict.fromkeys(tar for file in files for tar in _tars(file)):
        if (damage := tar_index(tar).damage) and tar.stat().st_size:
            yield Finding(str(tar), 0, "error", "damaged tar", f"it is {damage}")


def _tars(file: RowFile) -> list[Path]:
    return [path for path in file.others if path.suffix == ".tar"]


def _chunks(number: int, file: RowFile) -> Iterator[_Chunk]:
    line = 1
    with open_rows(file.path) as lines:
        while block := list(islice(lines, _LINES_AT_ONCE)):
            yield _Chunk(number, line, block)
            line += len(block)


@contextmanager
def _mapper(task: _Task, processes: int | None) -> Iterator[Callable[[Iterable[_Chunk]], Iterator[Any]]]:
    """Gives chunks with their results, in order."""
    count = processes or len(os.sched_getaffinity(0))
    if count <= 1:
        yield lambda chunks: ((chunk, task(chunk)) for chunk in chunks)
        return
    global _task
    _task = task
    try:
        with worker_pool(count) as pool:
            yield lambda chunks: _in_waves(pool, iter(chunks), 8 * count)
    finally:
        _task = None


def _in_waves(pool: Any, chunks: Iterator[_Chunk], size: int) -> Iterator[Any]:
    # A pool reads all it is given at once; a corpus may be larger than memory.
    while wave := list(islice(chunks, size)):
        yield from zip(wave, pool.map(_run_task, wave), strict=True)


_task: _Task | None = None


def _run_task(chunk: _Chunk) -> Any:
    assert _task is not None
    return _task(chunk)
