"""The one reader of others' pickles: a machine that can build plain values and nothing else.

A pickle is a program. This machine runs it with three powers taken away: it imports nothing (a
name is looked up in the caller's allow-list, everything else is refused by name before anything
of it runs), it calls nothing but what that list gives, and it sets the state only of values that
were made for it (`Rebuilt`). Protocols 0 to 5; strings of Python 2 come as bytes. NumPy arrays
and byte strings are rebuilt by stand-ins that check what they are given.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import reprlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from manifests.core.errors import InputError

Allowed = Mapping[tuple[str, str], Callable[..., Any]]

DEEPEST = 32  # levels of containers in what comes out
MARKS = 256  # brackets open at a time
CALLS_GROW = 4  # what calls make may weigh this many times the file
NAMES = {ord(instruction.code): instruction.name for instruction in pickletools.opcodes}
REFUSED = {
    "PERSID": "an object kept outside the file",
    "BINPERSID": "an object kept outside the file",
    "EXT1": "a class from a registry",
    "EXT2": "a class from a registry",
    "EXT4": "a class from a registry",
    "NEXT_BUFFER": "a buffer kept outside the file",
    "READONLY_BUFFER": "a buffer kept outside the file",
}


class _Brief(reprlib.Repr):
    """Names what it does not know by its type: a stranger's value may hold one list a billion
    times, and a number may have a million digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxstring = self.maxother = self.maxlong = 40

    def repr_int(self, x: int, level: int) -> str:
        return f"<int of {x.bit_length()} bits>" if x.bit_length() > 64 else repr(x)

    def repr_instance(self, x: Any, level: int) -> str:
        if x is None or isinstance(x, bool | float | complex | bytes):
            return repr(x[: self.maxother] if isinstance(x, bytes) else x)
        return f"<{type(x).__name__}>"


def shown(value: Any) -> str:
    """A stranger's value in a few words, for a message."""
    return _Brief().repr(value)[:80]


class Rebuilt(ABC):
    """A value that an allow-listed constructor returns and that a pickle may give a state."""

    @abstractmethod
    def set_state(self, state: Any) -> None:
        """Takes the state as the pickle holds it: a stranger's, to be checked."""


@dataclass(frozen=True)
class Name:
    """A (module, name) of the allow-list: to be called by the machine, or passed to a call."""

    module: str
    name: str


def load_pickle(path: Path, allowed: Allowed, *, most_bytes: int, most_steps: int) -> Any:
    """The value that the pickle at `path` holds.

    Raises InputError, before anything of the pickle has run, for a file above `most_bytes`; and
    for a name outside `allowed`, more than `most_steps` instructions, and what is no pickle.
    """
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise InputError(f"{path}: {size} bytes, at most {most_bytes} are read of a pickle")
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file") from None
    try:
        return parse_pickle(data, allowed, most_steps=most_steps)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_pickle(data: bytes, allowed: Allowed, *, most_steps: int) -> Any:
    """The value that the bytes of a pickle hold; see `load_pickle`."""
    machine = _Machine(data, allowed, most_steps)
    try:
        value = machine.load()
    except InputError:
        raise
    except Exception as error:  # junk can trip the machine in any way, each is the file's fault
        raise InputError(f"not a pickle that can be read ({type(error).__name__}: {error})"[:300])\
            from None  # fmt: skip
    _require_shallow(value)
    return value


class _Steps(dict[int, Any]):
    """The instruction table: counts, and names what it refuses."""

    def __init__(self, table: Mapping[int, Any], most: int) -> None:
        super().__init__(table)
        self.left = most

    def __getitem__(self, code: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise InputError("a pickle of too many instructions for what is expected here")
        name = NAMES.get(code, f"0x{code:02x}")
        if name in REFUSED or code not in self:
            raise InputError(
                f"its instruction {name} asks for {REFUSED.get(name, 'nothing that is known')}; "
                "refused, nothing of it was run"
            )
        return super().__getitem__(code)


# The machine of the standard library in Python: the one in C cannot be told what to call.
class _Machine(pickle._Unpickler):
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(self, data: bytes, allowed: Allowed, most_steps: int) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self.allowed = allowed
        self.weight_left = CALLS_GROW * len(data) + 1024
        self.size = len(data)
        self.dispatch = _Steps(type(self).table, most_steps)

    def find_class(self, module: str, name: str) -> Name:
        if (module, name) not in self.allowed:
            raise InputError(f"it asks for {module}.{name}"[:200] + "; refused, it was not run")
        return Name(module, name)

    def call(self, function: Any, arguments: Iterable[Any]) -> Any:
        if not isinstance(function, Name):
            raise InputError(f"it calls a {type(function).__name__}; refused, it was not run")
        made = self.allowed[function.module, function.name](*arguments)
        self.weight_left -= sys.getsizeof(made)
        if self.weight_left < 0:
            raise InputError("a small pickle that grows large when it is read; refused")
        return made

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        keywords = self.stack.pop()
        if keywords:
            raise InputError("it makes an object with keywords; refused, it was not run")
        self.load_reduce()

    def _instantiate(self, klass: Any, args: Iterable[Any]) -> None:  # of INST and OBJ
        self.append(self.call(klass, args))

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Rebuilt):
            kind = type(self.stack[-1]).__name__
            raise InputError(f"it sets the state of a {kind}; refused, it was not run")
        self.stack[-1].set_state(state)

    def load_mark(self) -> None:
        if len(self.metastack) >= MARKS:
            raise InputError(f"nested deeper than {MARKS}")
        super().load_mark()

    def load_setitem(self) -> None:
        require_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        require_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        require_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self) -> None:
        require_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        require_keys(self.stack)
        super().load_frozenset()

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        if size > self.size:  # the library would make room for what the file only claims
            raise InputError(f"it claims {size} bytes in a file of {self.size}")
        self.append(bytearray(self.read(size)))

    table = pickle._Unpickler.dispatch | {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_reduce,  # a stand-in is called, never a class made by __new__
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.MARK[0]: load_mark,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


def require_keys(keys: Iterable[Any]) -> None:
    """Raises InputError for keys of a dictionary, or members of a set, that are no names and no
    numbers: a few bytes make tuples within tuples that take hours to hash."""
    for key in keys:
        if not isinstance(key, str | bytes | int):
            raise InputError(f"a {type(key).__name__} as a key, expected a name or a number")


def _require_shallow(value: Any) -> None:
    """Raises InputError for what the functions that go through it could not follow."""
    level = [value]
    for _ in range(DEEPEST):
        inner = {id(item): item for each in level for item in _items(each)}
        level = list(inner.values())
    if level:
        raise InputError(f"nested deeper than {DEEPEST}")


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list | tuple | set | frozenset) else ()


KINDS = "buif"  # truth values, whole numbers, floats: nothing that holds a pointer
MOST_AXES = 8


class PickledType(Rebuilt):
    """numpy.dtype as a pickle spells it: a code, then its byte order as a state."""

    kinds = KINDS

    def __init__(self, code: Any, *_: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if (
            type(text) is not str
            or text[:1] not in self.kinds
            or not text[1:].isdecimal()
            or len(text) > 3
        ):
            raise InputError(f"an array of type {shown(text)}; expected numbers or truth values")
        self.dtype = np.dtype(object if text[0] == "O" else text)

    def set_state(self, state: Any) -> None:
        order: Any = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise InputError(f"an array of byte order {shown(order)}")
        self.dtype = self.dtype.newbyteorder(order)


class PickledObjectType(PickledType):
    """Objects too, for who looks at each of them."""

    kinds = KINDS + "O"


class PickledArray(Rebuilt):
    """numpy.ndarray: made empty, then given its shape, type and bytes as a state. Of objects it
    is the pickle's own list: a copy each time would let a small file grow."""

    def __init__(self, *_: Any) -> None:
        self.values = np.empty(0, np.uint8)
        self.objects: list[Any] | None = None

    def set_state(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if isinstance(kind, PickledType) and kind.dtype == object:
            if type(data) is not list or shape != (len(data),):
                raise InputError(f"an array of objects of shape {shown(shape)}, expected one row")
            self.objects = data
            return
        self.values = _array(data, kind, shape, "F" if fortran else "C")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, PickledType) or not isinstance(data, bytes | bytearray):
        raise InputError("an array without a type, or without bytes")
    if kind.dtype == object:
        raise InputError("bytes as an array of objects; refused")
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
WITH_OBJECTS: Allowed = {**ARRAYS, ("numpy", "dtype"): PickledObjectType}
