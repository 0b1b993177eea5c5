"""WebDatasets for tests."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def web_dataset(path: Path, members: Mapping[str, bytes]) -> str:
    """Writes a tar of these members, in their order."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)
