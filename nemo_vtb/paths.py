"""Where the files that travel with the package are, in a wheel and in a checkout; whether a folder takes files."""

import tempfile
from pathlib import Path

from nemo_vtb.errors import VTBError

# In the place of a checkpoint's path: the one in examples/checkpoint.
SHIPPED = "shipped"
CHECKPOINT_HELP = f"a .ckpt file, a folder of vtb export --to slim, or {SHIPPED}: the one in examples/checkpoint"

_PACKAGE = Path(__file__).parent


def config_dir() -> Path:
    """Returns the folder of shipped configs: inside the package in a wheel, beside it in a checkout."""
    packaged = _PACKAGE / "conf"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "conf"


def slurm_dir() -> Path:
    """Returns the folder of job scripts: inside the package in a wheel, in the examples of a checkout."""
    packaged = _PACKAGE / "launch" / "scripts"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "examples" / "slurm"


def corpora_dir() -> Path | None:
    """Returns the folder of shipped corpora, or None in an installation that has no checkout beside it."""
    folder = _PACKAGE.parent / "examples" / "corpora"
    return folder if folder.is_dir() else None


def checkpoint_path(path: str | Path) -> Path:
    """Returns the path of a checkpoint, which may be called ``shipped``.

    Raises:
        VTBError: If that one is asked for in an installation without a checkout.
    """
    if str(path) != SHIPPED:
        return Path(path)
    folder = _PACKAGE.parent / "examples" / "checkpoint"
    if not folder.is_dir():
        raise VTBError("the shipped checkpoint is in examples/checkpoint of a checkout; name another one")
    return folder


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
