"""Where the files that travel with the package are, in a wheel and in a checkout; whether a folder takes files."""

import fcntl
import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TextIO

from nemo_vtb.errors import VTBError

# In the place of a checkpoint's path: the one in examples/checkpoint.
SHIPPED = "shipped"
CHECKPOINT_HELP = f"a .ckpt file, a folder of vtb export --to slim, or {SHIPPED}: the one in examples/checkpoint"

# Where corpora and checkpoint are to be had.
CLONE = "clone the repository of nemo_vtb and run the command in its folder, which has it under examples/"

_PACKAGE = Path(__file__).parent
# The files by which this process holds folders; closing one would give its folder back.
_claimed: dict[Path, TextIO] = {}


def config_dir() -> Path:
    """Returns the folder of shipped configs: inside the package in a wheel, beside it in a checkout."""
    packaged = _PACKAGE / "conf"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "conf"


def slurm_dir() -> Path:
    """Returns the folder of job scripts: inside the package in a wheel, in the examples of a checkout."""
    packaged = _PACKAGE / "launch" / "scripts"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "examples" / "slurm"


def corpora_dir() -> Path | None:
    """Returns the folder of shipped corpora: of the checkout that the package is in, else of the one it is run in."""
    return _in_checkout("corpora")


def checkpoint_path(path: str | Path) -> Path:
    """Returns the path of a checkpoint, which may be called ``shipped``.

    Raises:
        VTBError: If that one is asked for in an installation without a checkout, and not in a checkout either.
    """
    if str(path) != SHIPPED:
        return Path(path)
    folder = _in_checkout("checkpoint")
    if folder is None:
        raise VTBError(
            f"the shipped checkpoint is not part of the installed package: {CLONE}, or name a checkpoint of your own"
        )
    return folder


def _in_checkout(name: str) -> Path | None:
    folders = [folder / "examples" / name for folder in (_PACKAGE.parent, Path.cwd())]
    return next((folder for folder in folders if folder.is_dir()), None)


def existing_checkpoint(path: str | Path) -> Path:
    """Returns the path of a checkpoint that is there, before anything is made ready for it.

    Raises:
        VTBError: If nothing is there.
    """
    found = checkpoint_path(path)
    if not found.exists():
        raise VTBError(f"no checkpoint at {found}")
    return found


def require_writable(folder: str | Path, key: str) -> None:
    """Makes a folder and tries a file in it, so that a run does not learn at its end that it cannot be written to.

    Args:
        folder: Made where it is missing; a remote one (``scheme://``) is left alone.
        key: Of the config, or option, that names it.

    Raises:
        VTBError: If nothing can be written there.
    """
    if "://" in str(folder):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise VTBError(
            f"cannot write to the folder {folder} ({error.strerror}); name another one with {key}"
        ) from error


def claim(folder: str | Path, key: str) -> None:
    """Makes a folder, and makes it this process's own until ``release``: two runs would overwrite their checkpoints.

    Processes of other machines are not seen: there, file systems that are shared keep locks of nodes that are gone.

    Args:
        folder: As for ``require_writable``.
        key: Of the config, or option, that names it.

    Raises:
        VTBError: If nothing can be written there, or another process holds it.
    """
    require_writable(folder, key)
    if "://" in str(folder):
        return
    file = _holding(folder)
    if file in _claimed:
        return
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        handle = file.open("a+", encoding="ascii")
        try:
            # Of the process, so that workers that it leaves behind do not hold it.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            handle.seek(0)
            holder = handle.read().strip() or "another one"
            handle.close()
            raise VTBError(
                f"process {holder} trains into the folder {folder} at this moment, and each would overwrite the "
                f"other's checkpoints: wait for it or end it, or name another folder with {key}"
            ) from error
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        _claimed[file] = handle


def release(folder: str | Path) -> None:
    """Gives back a folder that ``claim`` has taken, if it has."""
    if handle := _claimed.pop(_holding(folder), None):
        handle.close()


def _holding(folder: str | Path) -> Path:
    name = sha256(str(Path(folder).resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"nemo_vtb-{os.getuid()}" / f"{name}.run"
