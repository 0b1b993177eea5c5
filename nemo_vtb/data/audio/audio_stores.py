"""Where a row's clips are: beside the manifest, or inside a tar. Names come from data, so they are not trusted."""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from lhotse import Recording

from nemo_vtb.data.audio.headers import Measured, header, measured_file
from nemo_vtb.data.audio.recordings import ChannelSelector, file_source, recording_of
from nemo_vtb.data.audio.tars import TarIndex
from nemo_vtb.data.files.locations import remote_remedy
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.files.spelling import spelled_otherwise

# Where a path would be spelled otherwise, or be none: links, steps up, protocols.
_ODD_NAME = re.compile(r"^$|^pipe:|^data:|^file:|://|\0|//|(^|/)\.{1,2}(/|$)|/$|^.{257}", re.DOTALL)
# The usual names, told at a tenth of the cost.
_USUAL_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
_LONGEST_NAME = 256
_SPAN_NUMBER = re.compile(r"-sub\d+(\.\w+)?$")


class AudioStore(Protocol):
    """Finds the recording that a manifest calls by a name.

    Attributes:
        selector: Which channels of it the rows are about.
    """

    selector: ChannelSelector

    def recording(self, name: str) -> Recording:
        """Returns a recording whose samples are read only when asked for.

        Args:
            name: As in the manifest.

        Raises:
            BadRow: If the name is unsafe, or there is no readable audio behind it.
        """
        ...

    def cell(self, row: int, place: tuple[str | int, ...]) -> Recording:
        """Returns the recording that a cell of a table holds.

        Args:
            row: Number of the row.
            place: Column, then keys and positions within it.

        Raises:
            BadRow: If the rows do not come from a table, or there is no audio.
        """
        raise BadRow("missing audio", f"a cell of a table is named ({row}, {place}), and the row comes from none")


class AudioFolder(AudioStore):
    """Clips as files.

    Args:
        folder: The manifest's folder; relative names are relative to it.
        root: Every clip must be inside this folder, links followed; names may be relative to it too. Without it,
            relative names may not leave ``folder`` and absolute ones are taken as they are.
        selector: As in AudioStore.
    """

    def __init__(self, folder: Path, root: Path | None = None, selector: ChannelSelector = None) -> None:
        self.folder, self.root, self.selector = folder, root, selector

    def path(self, name: str) -> Path:
        """Resolves a name.

        Raises:
            BadRow: If it is not the path of a file that this manifest may name.
        """
        if "://" in name and (remedy := remote_remedy(name)):
            raise BadRow("remote audio", f"{name[:200]} is not on this machine: {remedy}")
        if name.startswith("pipe:") or "\0" in name:
            raise BadRow("unsafe path", f"{name[:200]!r} is not the path of a file")
        if self.root is None and not Path(name).is_absolute() and _climbs(name):
            raise BadRow("unsafe path", f"{name} leaves the manifest's folder {self.folder}")
        bases = (self.folder,) if self.root is None else (self.folder, self.root)
        for base in bases:
            path = base / name
            try:
                if not path.is_file():
                    if (other := spelled_otherwise(base, name)) is None:
                        continue
                    path = other
            except OSError as error:  # a name longer than the file system takes
                raise BadRow("missing audio", f"no audio file: {error.strerror}") from error
            if self.root is not None and not path.resolve().is_relative_to(self.root.resolve()):
                raise BadRow("unsafe path", f"{name} leaves audio_root {self.root}")
            return path
        raise BadRow("missing audio", f"no audio file at {bases[-1] / name}")

    def plain(self, name: str) -> Measured | None:
        """Measures the recording of a plain name, of one channel; None where it takes more than a look.

        Raises:
            BadRow: As ``recording``.
        """
        if self.root is not None or self.selector is not None or _is_odd(name):
            return None
        found = measured_file(os.path.join(self.folder, name))
        return found if found is not None and found.described.channels == 1 else None

    def recording(self, name: str) -> Recording:
        """See AudioStore."""
        path = str(self.path(name))
        found = header(path, name, path)
        return recording_of(file_source(path, found), found)


def _is_odd(name: str) -> bool:
    usual = len(name) <= _LONGEST_NAME and _USUAL_NAME.fullmatch(name) is not None
    return not usual and _ODD_NAME.search(name) is not None


class AudioTar(AudioStore):
    """Clips inside a tar, read at their offsets without unpacking anything.

    Args:
        tar: The tar.
        by_stem: As in TarIndex.
        selector: As in AudioStore.
    """

    def __init__(self, tar: Path, by_stem: bool = False, selector: ChannelSelector = None) -> None:
        self.tar, self.by_stem, self.selector = tar, by_stem, selector

    def recording(self, name: str) -> Recording:
        """See AudioStore."""
        index = tar_index(self.tar, self.by_stem)
        # NeMo's manifests call the spans of one recording `name-sub1.wav`, `name-sub2.wav`.
        found = index.find(name) or index.find(_SPAN_NUMBER.sub(r"\1", name))
        if found is None:
            raise BadRow(
                "missing audio",
                f"no member {name} in {self.tar}" + (f", which is {index.damage}" if index.damage else ""),
            )
        return found.recording(name)


@lru_cache(maxsize=1024)
def tar_index(tar: Path, by_stem: bool = False) -> TarIndex:
    """Returns the index of a tar, read once per process."""
    return TarIndex(tar, by_stem)


def _climbs(name: str) -> bool:
    depth = 0
    for part in Path(name).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
