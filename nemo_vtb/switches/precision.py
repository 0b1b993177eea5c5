"""``trainer.precision`` in every spelling that Lightning and NeMo know."""

from difflib import get_close_matches
from typing import Any

from nemo_vtb.errors import VTBError

# What is written -> what the run is given. NeMo's name for half precision keeps the audio whole, Lightning's does not.
SPELLINGS = {
    "auto": "auto",
    "32": "32-true",
    "32-true": "32-true",
    "16": "16-mixed",
    "16-mixed": "16-mixed",
    "bf16": "bf16-mixed",
    "bf16-mixed": "bf16-mixed",
    "bf16-true": "bf16-true",
    "16-true": "fp16-true",
    "fp16-true": "fp16-true",
}
_CHOICES = "auto, 32-true, bf16-mixed, bf16-true, 16-mixed or fp16-true"
_DOUBLE = f"double precision is not supported: choose {_CHOICES}"
_FLASH = f"it is for the flash optimizers of NeMo Automodel, which is not supported: choose {_CHOICES}"
_ENGINE = f"NVIDIA's Transformer Engine is not supported: choose {_CHOICES}"
_REFUSED = {
    "64": _DOUBLE,
    "64-true": _DOUBLE,
    "transformer-engine": _ENGINE,
    "transformer-engine-float16": _ENGINE,
    **dict.fromkeys(("fp16-flash", "bf16-flash", "fp16-automodel", "bf16-automodel"), _FLASH),
}


def resolve_precision(value: Any) -> str | None:
    """Returns the one spelling of a precision that NeMo and Lightning agree on; None where none is given.

    Raises:
        VTBError: If it is not supported, or is none.
    """
    if value is None:
        return None
    name = str(value)
    if name in SPELLINGS and not isinstance(value, bool):
        return SPELLINGS[name]
    if name in _REFUSED:
        raise VTBError(f"trainer.precision={name}: {_REFUSED[name]}")
    close = get_close_matches(name.lower(), SPELLINGS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"choose {_CHOICES}"
    raise VTBError(f"trainer.precision={name} is no precision: {hint}")
