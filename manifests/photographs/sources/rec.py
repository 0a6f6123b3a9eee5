"""rec:PATH, InsightFace's train.rec with train.idx beside it, or the folder that they are in.

Read as arcface_torch does: record 0 says how many images there are, each of which has its label
before it; without a record 0 of two numbers all records are images. A record that had to be cut,
because its image has the file's own mark in it, is put together again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from manifests.core.errors import Faults, InputError
from manifests.photographs.sources.base import (
    AS_FOUND,
    Bytes,
    Fields,
    ImageRanges,
    Label,
    Named,
    parse_label,
)

MARK = struct.pack("<I", 0xCED7230A)
HEAD = struct.Struct("<IfQQ")  # number of labels, the only label, id, second id
WHOLE, FIRST, MIDDLE, LAST = range(4)
LENGTH_BITS = 29  # of a record's length; above it stands which piece of the record it is
MOST_PARTS = 64  # of a record
MOST_LABELS = 16
MOST_INDEX = 4 << 30  # bytes


def open_images(path: Path, fields: Fields) -> ImageRanges:
    """Raises InputError, naming the record, for offsets that lead nowhere and labels that are
    none."""
    if fields != AS_FOUND:
        raise InputError(f"rec:{path} has no --image and no --identity: its labels say who it is")
    record = path / "train.rec" if path.is_dir() else path
    index = record.with_suffix(".idx")
    if not index.is_file():
        raise InputError(f"{index}: no such file; it says where the images of {record} begin")
    offsets = _offsets(index)
    found, faults = Named(), Faults(str(record))
    with Bytes(record) as file:
        for key in _images(file, offsets):
            with faults:
                labels, parts = _record(file, key, offsets[key])
                if not labels:
                    raise InputError(f"{record}: record {key} has no label")
                found.add(record, str(key), (0, *parts), _label(record, key, labels[0]))
    faults.raise_any()
    if not found.places:
        raise InputError(f"{record}: no images in it")
    return found.ranges(record, (record,))


def _label(record: Path, key: int, value: float) -> Label:
    try:
        return parse_label(value)
    except InputError as error:
        raise InputError(f"{record}: record {key}: {error}") from None


def _images(file: Bytes, offsets: dict[int, int]) -> Iterator[int]:
    """The keys of records that are images."""
    if 0 not in offsets:
        return iter(offsets)
    labels, _ = _record(file, 0, offsets[0])
    if len(labels) < 2:
        return iter(offsets)
    end = labels[0]
    if not (1 <= end <= 2**32 and end == int(end)):
        raise InputError(f"{file.path}: record 0 says that images end at {end}; bring it whole")
    keys = [key for key in offsets if 1 <= key < end]
    if len(keys) != int(end) - 1:
        raise InputError(
            f"{file.path}: record 0 says {int(end) - 1} images, the .idx has {len(keys)}; bring "
            "both whole"
        )
    return iter(sorted(keys))


def _offsets(path: Path) -> dict[int, int]:
    """{key: offset} of an index: a line `KEY TAB OFFSET` each."""
    with Bytes(path) as file:
        if file.size > MOST_INDEX:
            raise InputError(f"{path}: {file.size} bytes, at most {MOST_INDEX} are read")
        lines = file.at(0, file.size).splitlines()
    found: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if len(cells) != 2 or not all(cell.isdigit() and len(cell) < 19 for cell in cells):
            raise InputError(f"{path}, line {number}: expected KEY, a tab, OFFSET")
        key = int(cells[0])
        if key in found:
            raise InputError(f"{path}, line {number}: key {key} comes twice")
        found[key] = int(cells[1])
    return found


def _record(file: Bytes, key: int, offset: int) -> tuple[list[float], list[int]]:
    """The labels before an image, and (offset, bytes, …) of its parts."""
    try:
        parts = _parts(file, offset)
        start, size = parts[0], parts[1]
        if size < HEAD.size:
            raise InputError("it ends within its label")
        flag, label, _, _ = HEAD.unpack(file.at(start, HEAD.size))
        if flag > MOST_LABELS:
            raise InputError(f"{flag} labels, at most {MOST_LABELS}")
        length = HEAD.size + 4 * flag
        if length > size:
            raise InputError("it ends within its labels")
        labels = np.frombuffer(file.at(start + HEAD.size, 4 * flag), "<f4").tolist()
        return labels if flag else [label], [start + length, size - length, *parts[2:]]
    except InputError as error:
        text = str(error).removeprefix(f"{file.path}: ")
        raise InputError(f"{file.path}: record {key} at {offset}: {text}") from None


def _parts(file: Bytes, offset: int) -> list[int]:
    """(offset, bytes, …): where it was cut stood the mark, which is still there, before the
    length of the next part."""
    parts: list[int] = []
    while len(parts) < 2 * MOST_PARTS:
        if file.at(offset, 4) != MARK:
            raise InputError("no record begins there; bring the .idx that was made with the .rec")
        (word,) = struct.unpack("<I", file.at(offset + 4, 4))
        kind, size = word >> LENGTH_BITS, word & (1 << LENGTH_BITS) - 1
        if kind not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)):
            raise InputError("it begins in the middle of another one, or ends there")
        if parts:
            parts += [offset, 4]
        if size > file.size - offset - 8:
            raise InputError(f"it claims {size} bytes, which the file does not have")
        parts += [offset + 8, size]
        if kind in (WHOLE, LAST):
            return parts
        if size % 4:
            raise InputError("a part of it does not end where it could be cut")
        offset += 8 + size
    raise InputError(f"more than {MOST_PARTS} parts")
