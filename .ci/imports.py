"""Imports nemo_vtb's model and every package that an extra of the installed nemo_vtb asks for.

python .ci/imports.py quickstart
"""

import importlib
import importlib.metadata
import sys

from packaging.requirements import Requirement


def modules_of(extra: str) -> list[str]:
    """Modules of the distributions that ``extra`` names (packages and single files on the top level)."""
    of_distribution: dict[str, set[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            of_distribution.setdefault(_plain(distribution), set()).add(module)
    names = []
    for line in importlib.metadata.requires("nemo-vtb") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            names.append(requirement.name)
    return sorted(module for name in names for module in of_distribution[_plain(name)])


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    import nemo_vtb

    assert nemo_vtb.VoiceTextBlender
    for module in modules_of(sys.argv[1]):
        if module.isidentifier() and not module.startswith("_"):
            importlib.import_module(module)
