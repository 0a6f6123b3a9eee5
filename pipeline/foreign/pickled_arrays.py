"""NumPy arrays and byte strings in others' pickles: stand-ins that check what they are given."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from manifests.core.errors import InputError
from pipeline.foreign.pickles import Allowed, Rebuilt, shown

KINDS = "buif"  # truth values, whole numbers, floats: nothing that holds a pointer
MOST_AXES = 8


class PickledType(Rebuilt):
    """numpy.dtype as a pickle spells it: a code, then its byte order as a state."""

    def __init__(self, code: Any, *_: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if (
            type(text) is not str
            or text[:1] not in KINDS
            or not text[1:].isdecimal()
            or len(text) > 3
        ):
            raise InputError(f"an array of type {shown(text)}; expected numbers or truth values")
        self.dtype = np.dtype(text)

    def set_state(self, state: Any) -> None:
        order: Any = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise InputError(f"an array of byte order {shown(order)}")
        self.dtype = self.dtype.newbyteorder(order)


class PickledArray(Rebuilt):
    """numpy.ndarray: made empty, then given its shape, type and bytes as a state."""

    def __init__(self, *_: Any) -> None:
        self.values = np.empty(0, np.uint8)

    def set_state(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self.values = _array(data, kind, shape, "F" if fortran else "C")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, PickledType) or not isinstance(data, bytes | bytearray):
        raise InputError("an array without a type, or without bytes")
    if type(shape) is not tuple or len(shape) > MOST_AXES or any(type(n) is not int for n in shape):
        raise InputError(f"an array of shape {shown(shape)}")
    if min(shape, default=1) < 0 or prod(shape) * kind.dtype.itemsize != len(data):
        raise InputError(f"an array of shape {shown(shape)} and {kind.dtype} in {len(data)} bytes")
    return np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> PickledArray:
    made = PickledArray()
    made.values = _array(data, kind, shape, order)
    return made


def _scalar(kind: Any, data: Any) -> Any:
    return _array(data, kind, (1,), "C")[0].item()


def _encoded(text: Any = b"", encoding: Any = "latin1") -> bytes:
    """Bytes as Python 3 writes them for Python 2, and as a bytearray is written."""
    if isinstance(text, bytes | bytearray):
        return bytes(text)
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise InputError(f"bytes spelled in {shown(encoding)}, expected latin1")
    return text.encode("latin1")


_CORES = ("numpy.core", "numpy._core")
ARRAYS: Allowed = {
    ("numpy", "dtype"): PickledType,
    ("numpy", "ndarray"): PickledArray,
    ("_codecs", "encode"): _encoded,
    **{
        (module, name): _encoded
        for module in ("builtins", "__builtin__")
        for name in ("bytes", "bytearray")
    },
    **{(f"{core}.multiarray", "_reconstruct"): PickledArray for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORES},
}
