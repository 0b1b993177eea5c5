"""Found by Hydra in every application of the environment: adds the shipped configs to the search path.

Only Hydra is imported at the top: NeMo lists Hydra's plugins while it is itself half imported, and an import error here
would be swallowed.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class NeMoVTBSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from nemo_vtb.paths import config_dir

        search_path.append("nemo_vtb", f"file://{config_dir()}")
