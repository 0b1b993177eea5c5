"""Recordings inside tables: the cells of parquet files and of Arrow files as `datasets` writes them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import Recording

from nemo_vtb.data.audio.audio_stores import AudioFolder
from nemo_vtb.data.audio.headers import header
from nemo_vtb.data.audio.recordings import BytesSource, recording_of
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line

SUFFIXES = (".parquet", ".arrow")
# Where the copy of a table's rows says that a field held bytes.
CELL = "$cell"


@dataclass
class CellSource(BytesSource):
    """Lhotse's AudioSource for bytes that a table holds; ``source`` is a name for people."""

    table: Path | None = None
    row: int = 0
    place: tuple[str | int, ...] = ()

    def _prepare_for_reading(self, offset: float, duration: float | None) -> Any:
        assert self.table is not None
        return BytesIO(open_table(self.table).cell(self.row, self.place))


class AudioTable(AudioFolder):
    """Clips in the cells of a table, or as files beside it.

    Args:
        table: The file.
        root: As of AudioFolder.
    """

    def __init__(self, table: Path, root: Path | None = None) -> None:
        super().__init__(table.parent, root)
        self.table = table

    def cell(self, row: int, place: tuple[str | int, ...]) -> Recording:
        """See AudioStore."""
        cell = f"{row + 1}/{'.'.join(map(str, place))}"
        label = f"{self.table}:{cell}"
        found = header(
            self.table, f"{self.table.name}:{cell}", label, lambda: BytesIO(open_table(self.table).cell(row, place))
        )
        channels = list(range(found.channels))
        source = CellSource("file", channels, label, plain=found.plain, table=self.table, row=row, place=place)
        return recording_of(source, found)


class Table:
    """A table, read where it is asked for.

    Args:
        path: A parquet file, or an Arrow file of either kind.

    Raises:
        VTBError: If pyarrow is missing, or cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise VTBError(f"reading {path} needs pyarrow: pip install 'nemo-vtb[tables]'") from error
        try:
            if path.suffix == ".parquet":
                self._file = pq.ParquetFile(path, memory_map=True)
                sizes = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
                names = self._file.schema_arrow.names
            else:
                mapped = pa.memory_map(str(path))
                try:
                    self._batches = list(pa.ipc.open_stream(mapped))
                except pa.ArrowInvalid:
                    reader = pa.ipc.open_file(mapped)
                    self._batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
                sizes = [batch.num_rows for batch in self._batches]
                names = self._batches[0].schema.names if self._batches else []
        except (OSError, pa.ArrowException) as error:
            raise VTBError(f"{path} cannot be read as a table: {first_line(error)}") from error
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise VTBError(f"{path} has {names.count(twice[0])} columns named '{twice[0]}': rename all but one")
        self._starts: np.ndarray = np.cumsum([0, *sizes])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields every row; bytes are left where they are, and said to be there.

        Raises:
            VTBError: Names the row that cannot be read, or that holds what Python has no value for.
        """
        for row in range(int(self._starts[-1])):
            group = int(np.searchsorted(self._starts, row, side="right")) - 1
            try:
                batch = self._group(group)
                values = {name: batch.column(name)[row - int(self._starts[group])] for name in batch.schema.names}
                plain = {name: _without_bytes(value.as_py(), (row, name)) for name, value in values.items()}
            except (OSError, ValueError, OverflowError, NotImplementedError) as error:
                raise VTBError(f"{self.path}, row {row + 1}, cannot be read: {first_line(error)}") from error
            yield plain

    def cell(self, row: int, place: tuple[str | int, ...]) -> bytes:
        """Returns the bytes of a recording.

        Raises:
            BadRow: If there are none.
        """
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        try:
            batch = self._group(group, str(place[0]))
            value: Any = batch.column(str(place[0]))[row - int(self._starts[group])].as_py()
            for key in place[1:]:
                value = value[key]
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise BadRow("missing audio", f"{self.path}, row {row + 1} holds nothing at {place}") from error
        if not isinstance(value, bytes):
            raise BadRow("missing audio", f"{self.path}, row {row + 1} holds no bytes at {place}")
        return value

    def _group(self, group: int, column: str | None = None) -> Any:
        if self.path.suffix == ".parquet":
            return _row_group(self, group, column)
        return self._batches[group]


def _without_bytes(value: Any, place: tuple[Any, ...]) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {CELL: list(place)}
    if isinstance(value, dict):
        return {key: _without_bytes(inner, (*place, key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_bytes(inner, (*place, number)) for number, inner in enumerate(value)]
    return value


@lru_cache(maxsize=64)
def open_table(path: Path) -> Table:
    """Returns a table, opened once per process."""
    return Table(path)


# Clips are drawn in any order, and a group must be unpacked whole: neighbours in it are worth keeping.
@lru_cache(maxsize=2)
def _row_group(table: Table, group: int, column: str | None) -> Any:
    read = table._file.read_row_group(group, columns=None if column is None else [column])
    return read.combine_chunks()
