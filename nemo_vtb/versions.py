"""Which versions of the host work together, checked before anything is built."""

from importlib import metadata

from nemo_vtb.errors import VTBError

# Package -> (specifier, why). An optional package is checked only where it is installed.
SUPPORTED = {
    "nemo_toolkit": (">=3.0.0,<3.1", "the launcher and data interfaces of NeMo 3.0"),
    "lhotse": (">=1.33", "NeMo 3.0 data loading"),
    "peft": (">=0.18.0,<0.19", "NeMo 3.0 pins peft<=0.18.0"),
    "torch": (">=2.6", "torch.load defaults and FSDP2"),
}
SUPPORTED_IF_INSTALLED = {
    "torchao": (">=0.16,<0.18", "peft 0.18 refuses other versions, and then LoRA does not import"),
}


def check_versions(installed: dict[str, str] | None = None) -> list[str]:
    """Lists what is wrong with the installed versions.

    Args:
        installed: Versions by package name; by default those of the running environment.

    Returns:
        One line per problem, each with the remedy; empty when all is well.
    """
    problems = []
    for package, (specifier, reason) in {**SUPPORTED, **SUPPORTED_IF_INSTALLED}.items():
        version = _installed_version(package) if installed is None else installed.get(package)
        remedy = f"run: pip install '{package}{specifier}'"
        if version is None:
            if package in SUPPORTED:
                problems.append(f"{package} is not installed ({reason}); {remedy}")
        elif not _matches(version, specifier):
            problems.append(f"{package} {version} is not supported, {specifier} is ({reason}); {remedy}")
    return problems


def require_supported_versions(installed: dict[str, str] | None = None) -> None:
    """Stops with one message when the installed versions cannot work together.

    Raises:
        VTBError: Names each unsupported package and the command that mends it.
    """
    if problems := check_versions(installed):
        raise VTBError("Unsupported versions:\n  " + "\n  ".join(problems))


def _installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _matches(version: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)
