"""Which conversation comes next: shares by kind, walked without repeats, resumable anywhere.

Begin with ``walk``; ``cursor`` is what a checkpoint keeps.
"""

from nemo_vtb.moved import names_of

__getattr__ = names_of("nemo_vtb.data.blend", "nemo_vtb.data.blend.walk")
