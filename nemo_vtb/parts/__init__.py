"""Pure functions of the step: packing, masks, losses, what is frozen, precision.

Begin with ``turn_mask`` (what is supervised) and ``pack`` (how conversations share a row).
"""
