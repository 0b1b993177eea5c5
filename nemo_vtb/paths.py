"""Where the files that travel with the package are, in a wheel and in a checkout; whether a folder takes files."""

import tempfile
from pathlib import Path

from nemo_vtb.errors import VTBError

# In the place of a checkpoint's path: the one in examples/checkpoint.
SHIPPED = "shipped"
CHECKPOINT_HELP = f"a .ckpt file, a folder of vtb export --to slim, or {SHIPPED}: the one in examples/checkpoint"

# Where corpora and checkpoint are to be had.
CLONE = "clone the repository of nemo_vtb and run the command in its folder, which has it under examples/"

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
