"""RecordIO, in which MXNet keeps binary records: framing, and what InsightFace puts into it.

A record is a magic number, its length and its bytes, up to a multiple of four. Where the magic
number itself stands in the bytes, at such a multiple, the record is cut there and it is left out
(dmlc-core, recordio.cc). Before a picture stand flag, label, id and id2 (mx.recordio.IRHeader);
where the flag is not 0 it counts the labels that follow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from manifests.core.errors import InputError
from manifests.photographs.sources.rec import (
    FIRST,
    HEAD,
    LAST,
    LENGTH_BITS,
    MARK,
    MIDDLE,
    WHOLE,
)

MOST_EXACT = 1 << 24  # whole numbers that float32 knows one by one: labels are such


def frame(data: bytes) -> bytes:
    """A record as it stands in a file."""
    cuts = [at for at in _places(data) if at % 4 == 0 and at + 4 <= len(data) // 4 * 4]
    starts = [0, *(at + len(MARK) for at in cuts)]
    pieces = [data[start:stop] for start, stop in zip(starts, [*cuts, len(data)], strict=True)]
    last = len(pieces) - 1
    kinds = [WHOLE] if not last else [FIRST, *[MIDDLE] * (last - 1), LAST]
    return b"".join(_piece(*each) for each in zip(kinds, pieces, strict=True))


def _places(data: bytes) -> Iterator[int]:
    at = data.find(MARK)
    while at >= 0:
        yield at
        at = data.find(MARK, at + (len(MARK) if at % 4 == 0 else 1))


def _piece(kind: int, data: bytes) -> bytes:
    length = struct.pack("<I", kind << LENGTH_BITS | len(data))
    return MARK + length + data + bytes(-len(data) % 4)


def read_record(file: BinaryIO) -> bytes | None:
    """The next record; None at the end of the file. Raises InputError for what is no record."""
    pieces: list[bytes] = []
    while True:
        head = file.read(8)
        if not head and not pieces:
            return None
        if len(head) < 8 or head[:4] != MARK:
            raise InputError(f"{file.name}: no record at byte {file.tell() - len(head)}")
        (word,) = struct.unpack("<I", head[4:])
        kind, length = word >> LENGTH_BITS, word & (1 << LENGTH_BITS) - 1
        data = file.read(length + -length % 4)
        if len(data) < length or (kind in (WHOLE, FIRST)) != (not pieces):
            raise InputError(f"{file.name}: a record ends before its end")
        pieces.append(data[:length])
        if kind in (WHOLE, LAST):
            return MARK.join(pieces)


def pack(number: int, label: int | Sequence[int], picture: bytes = b"") -> bytes:
    """What InsightFace keeps as record `number`: one label as such, several before the picture."""
    if isinstance(label, Sequence):
        header = HEAD.pack(len(label), 0, number, 0)
        return header + np.array(label, "<f4").tobytes() + picture
    return HEAD.pack(0, label, number, 0) + picture


def unpack(data: bytes) -> tuple[int, np.ndarray, bytes]:
    """(number, labels, picture): the inverse of `pack`."""
    flag, label, number, _ = HEAD.unpack_from(data)
    end = HEAD.size + 4 * flag
    if not flag:
        return number, np.array([label], np.float32), data[end:]
    return number, np.frombuffer(data[HEAD.size : end], "<f4"), data[end:]
