"""Where the files that travel with the package are, in a wheel and in a checkout."""

from pathlib import Path

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
