"""Found by Hydra in every application of the environment: adds the shipped configs to the search path.

Only Hydra is imported at the top: NeMo lists Hydra's plugins while it is itself half imported, and an import error here
would be swallowed.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class NeMoVTBSearchPath(SearchPathPlugin):
    """Hydra makes one for every application and asks it where else configs are."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Puts the shipped configs behind everything that is searched already."""
        from nemo_vtb.paths import config_dir

        search_path.append("nemo_vtb", f"file://{config_dir()}")
