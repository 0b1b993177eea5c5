"""An ``input_cfg`` entry as a source of conversations, with an index that is built once.

Begin with ``source``; ``formats`` knows the data types, ``index`` and ``index_build`` where each row is and how long.
"""

from nemo_vtb.moved import names_of

__getattr__ = names_of("nemo_vtb.data.sources", "nemo_vtb.data.sources.source")
