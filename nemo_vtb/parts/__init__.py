"""Pure functions of the step: packing, losses, what is frozen; rooms for prompts and for the machine.

Begin with ``prompts.turn_mask`` (what is supervised) and ``pack`` (how conversations share a row).
"""
