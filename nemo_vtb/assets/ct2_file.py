"""Reads the binary model file that CTranslate2 writes.

Layout, little endian: version (uint32), spec name, spec revision (uint32), number of variables (uint32); for each its
name, rank (uint8), dimensions (uint32 each), data type (uint8), size in bytes (uint32) and data; then number of aliases
(uint32) and for each two names. A string is its length with the closing zero (uint16), then its bytes.
Source: the ``Model::load`` and ``ModelSpec._serialize`` functions of CTranslate2.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nemo_vtb.errors import VTBError

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


@dataclass(frozen=True)
class CT2File:
    """Contents of a model file.

    Attributes:
        spec: Name of the architecture, e.g. ``WhisperSpec``.
        variables: Arrays by name, such as ``encoder/layer_0/ffn/linear_0/weight``.
    """

    spec: str
    variables: dict[str, np.ndarray]


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.position)
        self.position += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        return self.block(self.number("H"))[:-1].decode("utf-8")

    def block(self, size: int) -> bytes:
        if self.position + size > len(self.data):
            raise struct.error("unexpected end of file")
        start, self.position = self.position, self.position + size
        return self.data[start : self.position]

    def array(self) -> np.ndarray:
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype = _DTYPES[self.number("B")]
        return np.frombuffer(self.block(self.number("I")), dtype).reshape(shape)


def read_ct2_file(path: Path) -> CT2File:
    """Reads a ``model.bin``.

    Raises:
        VTBError: The file is truncated or not in this layout.
    """
    cursor = _Cursor(path.read_bytes())
    try:
        cursor.number("I")
        spec = cursor.text()
        cursor.number("I")
        variables = {}
        for _ in range(cursor.number("I")):
            name = cursor.text()
            variables[name] = cursor.array()
        for _ in range(cursor.number("I")):
            cursor.text(), cursor.text()
    except (struct.error, KeyError, ValueError) as error:
        raise VTBError(f"{path} is not a complete CTranslate2 model file: {error}") from error
    if cursor.position != len(cursor.data):
        raise VTBError(f"{path}: {len(cursor.data) - cursor.position} bytes left over after the last variable")
    return CT2File(spec, variables)
