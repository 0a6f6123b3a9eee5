"""lmdb:PATH, a data.mdb or the folder that it is in: under each key an encoded image, or a pickled
(image, label), as folder2lmdb and its kin write them.

Who is on an image: the label beside it; else what train.tsv or train.txt beside the file says of
its key; else the folder in the key. The file's pages are read here, each within the file, as
liblmdb trusts them: a damaged one ends the process that maps it. A pickle is not run, it is only
spelled: bytes and a number in a tuple are what it may say.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from manifests.core.errors import Faults, InputError
from manifests.photographs.images import MOST_BYTES
from manifests.photographs.names import is_safe
from manifests.photographs.sources.base import (
    AS_FOUND,
    Bytes,
    Fields,
    ImageRanges,
    Label,
    Named,
    label_of_text,
    parse_label,
)
from manifests.photographs.sources.folder import folder_of

MARK, FORMAT = 0xBEEFC0DE, (1, 999)
PAGE = struct.Struct("<QHHHH")  # number, padding, kind, where free space begins and ends
META = struct.Struct("<IIQQ")  # mark, format, address, size of the map
TREE = struct.Struct("<IHHQQQQQ")  # padding, kind, depth, three kinds of pages, entries, root
BRANCH, LEAF, LARGE, SORTED = 1, 2, 4, 0x20
BIG, TREE_INSIDE, TWINS = 1, 2, 4  # of a node
HEAD = 8  # bytes of a node before its key
DEEPEST = 32
NONE = 2**64 - 1  # in place of a page
LISTS = ("train.tsv", "train.txt")
MOST_LIST = 1 << 30  # bytes
LEAST_BYTES = 32  # of an image; less is a count, or a version
MOST_OF_PICKLE = 4096  # bytes beside its image
MOST_CODES = 64  # instructions of a pickle; an image and its label need a dozen
PICKLED = b"\x80"
PASSED = {"PROTO", "FRAME", "MARK", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP", "TUPLE", "TUPLE2"}
IMAGE = {  # instructions, and how many bytes of each stand before its own
    "SHORT_BINBYTES": 2, "BINBYTES": 5, "BINBYTES8": 9, "SHORT_BINSTRING": 2, "BINSTRING": 5,
}  # fmt: skip
LABEL = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "NONE"}


@dataclass(frozen=True)
class Entry:
    """A key, and where its value lies in the file."""

    key: bytes
    offset: int
    size: int


class Pages:
    """The newest state of a database, read page by page."""

    def __init__(self, file: Bytes) -> None:
        self.file = file
        self.size, self.root, self.entries = self._newest()
        self.left = file.size // self.size  # pages that there are to come by

    def _newest(self) -> tuple[int, int, int]:
        """Bytes of a page, number of the root's, and how many keys there are."""
        first = self._meta(0)
        size = first[0]
        if size not in {1 << n for n in range(9, 17)}:
            raise InputError(f"{self.file.path}: pages of {size} bytes; expected 512 to 65536")
        found = [first, self._meta(size)]
        _, _, root, entries = max(found, key=lambda meta: meta[1])
        return size, root, entries

    def _meta(self, offset: int) -> tuple[int, int, int, int]:
        head = self.file.at(offset, PAGE.size + META.size + 2 * TREE.size + 16)
        mark, version, _, _ = META.unpack_from(head, PAGE.size)
        if mark != MARK or version not in FORMAT:
            raise InputError(
                f"{self.file.path}: no LMDB file of 64-bit little-endian machines; bring data.mdb "
                "whole"
            )
        free = TREE.unpack_from(head, PAGE.size + META.size)
        main = TREE.unpack_from(head, PAGE.size + META.size + TREE.size)
        if main[1] & TWINS:
            raise InputError(f"{self.file.path}: keys with several values each; one is expected")
        (transaction,) = struct.unpack_from("<Q", head, PAGE.size + META.size + 2 * TREE.size + 8)
        return free[0], transaction, main[7], main[6]

    def page(self, number: int) -> bytes:
        self.left -= 1
        if self.left < 0:  # one that leads back to itself
            raise self.damaged(number)
        return self.file.at(number * self.size, self.size)

    def nodes(self, page: bytes, number: int) -> Iterator[tuple[bytes, int, int]]:
        """(key, flags or upper bits, where the node begins) of a page."""
        own, _, _, lower, _ = PAGE.unpack_from(page)
        count = (lower - PAGE.size) // 2
        if own != number or not 0 <= count <= (self.size - PAGE.size) // 2:
            raise self.damaged(number)
        for (start,) in struct.iter_unpack("<H", page[PAGE.size : PAGE.size + 2 * count]):
            if start + HEAD > self.size:
                raise self.damaged(number)
            flags, length = struct.unpack_from("<HH", page, start + 4)
            if start + HEAD + length > self.size:
                raise self.damaged(number)
            yield page[start + HEAD : start + HEAD + length], flags, start

    def damaged(self, number: int) -> InputError:
        return InputError(f"{self.file.path}: page {number} is damaged; bring data.mdb whole")


def entries(file: Bytes) -> Iterator[Entry]:
    """All entries, by their keys.

    Raises InputError for what is no LMDB file, pages that are none or lie outside it, and keys
    that are not in their order, as are those of pages that lead back to themselves.
    """
    pages = Pages(file)
    if pages.root == NONE:
        return
    before, count = b"", 0
    for entry in _below(pages, pages.root, DEEPEST):
        if count and entry.key <= before:
            raise InputError(f"{file.path}: keys out of their order; bring data.mdb whole")
        before, count = entry.key, count + 1
        yield entry
    if count != pages.entries:
        raise InputError(f"{file.path}: {count} keys, it claims {pages.entries}; bring it whole")


def _below(pages: Pages, number: int, depth: int) -> Iterator[Entry]:
    page = pages.page(number)
    kind = PAGE.unpack_from(page)[2] & 0xFF
    if kind not in (BRANCH, LEAF) or not depth:
        raise pages.damaged(number)
    for key, flags, start in pages.nodes(page, number):
        low, high = struct.unpack_from("<HH", page, start)
        if kind == BRANCH:
            yield from _below(pages, low | high << 16 | flags << 32, depth - 1)
        else:
            yield _entry(pages, page, number, key, flags, start, low | high << 16)


def _entry(
    pages: Pages, page: bytes, number: int, key: bytes, flags: int, start: int, size: int
) -> Entry:
    inside = start + HEAD + len(key)
    if flags & ~BIG:
        raise InputError(f"{pages.file.path}: databases within the database; one is expected")
    if not flags:
        if inside + size > pages.size:
            raise pages.damaged(number)
        return Entry(key, number * pages.size + inside, size)
    if inside + 8 > pages.size:
        raise pages.damaged(number)
    (large,) = struct.unpack_from("<Q", page, inside)
    own, _, kind, _, _ = PAGE.unpack(pages.file.at(large * pages.size, PAGE.size))
    offset = large * pages.size + PAGE.size
    if own != large or kind & 0xFF != LARGE or size > pages.file.size - offset:
        raise pages.damaged(large)
    return Entry(key, offset, size)


def open_images(path: Path, fields: Fields) -> ImageRanges:
    """Raises InputError, naming the key, for a damaged file, for pickles that say more than bytes
    and a label, and for labels that are none or missing in the list beside the file."""
    if fields != AS_FOUND:
        raise InputError(f"lmdb:{path} has no --image and no --identity: its labels say who it is")
    data = path / "data.mdb" if path.is_dir() else path
    beside = _list(data.parent)
    found, faults = Named(), Faults(str(data))
    with Bytes(data) as file:
        for entry in entries(file):
            if entry.key.startswith(b"__") or entry.size < LEAST_BYTES:
                continue
            with faults:
                name = _name(entry.key)
                offset, size, label = _image(file, name, entry)
                if label is None:
                    label = _said(data, name, beside)
                found.add(data, name, (0, offset, size), label)
    faults.raise_any()
    if not found.places:
        raise InputError(f"{data}: no images in it")
    return found.ranges(data, (data,))


def _name(key: bytes) -> str:
    """Numbers that are no text are named by their digits."""
    name = key.decode("utf-8", "surrogateescape")
    return name if is_safe(name) else key.hex()


def _said(path: Path, name: str, beside: Mapping[str, Label] | None) -> Label:
    if beside is None:
        return folder_of(name)
    if name not in beside:
        raise InputError(f"{path}: image {name}: the list beside the file does not have it")
    return beside[name]


def _image(file: Bytes, name: str, entry: Entry) -> tuple[int, int, Label]:
    """Where its bytes begin, how many there are, and the label beside them."""
    if file.at(entry.offset, 1) != PICKLED:
        return entry.offset, entry.size, None
    if entry.size > MOST_BYTES + MOST_OF_PICKLE:
        raise InputError(
            f"{file.path}: image {name}: {entry.size} bytes, an image may have {MOST_BYTES}"
        )
    try:
        start, size, label = spelled(file.at(entry.offset, entry.size))
        return entry.offset + start, size, parse_label(label)
    except ValueError as error:
        text = str(error).splitlines()[0][:80]
        raise InputError(
            f"{file.path}: image {name}: no encoded image, and no pickle of one and its label "
            f"({text}); unpack the set to a folder an identity"
        ) from None
    except InputError as error:
        raise InputError(f"{file.path}: image {name}: {error}") from None


def spelled(pickle: bytes) -> tuple[int, int, Any]:
    """Where the bytes are that a pickled (bytes, label) has, how many, and the label. It is read
    as text and never run. Raises InputError, and ValueError for what is no pickle."""
    found: tuple[int, int] | None = None
    label = None
    labels = 0
    for code, value, at in islice(pickletools.genops(pickle), MOST_CODES):
        if code.name in IMAGE and found is None:
            start = (at or 0) + IMAGE[code.name]
            found = start, len(value or b"")
        elif code.name in LABEL:
            label, labels = value, labels + 1
        elif code.name not in PASSED:
            raise InputError(
                f"its pickle says {code.name}, expected an encoded image and a number; nothing of "
                "it was run: unpack the set to a folder an identity"
            )
    if found is None:
        raise InputError("its pickle has no bytes of an image")
    if labels > 1:
        raise InputError("its pickle has several labels; unpack the set to a folder an identity")
    return *found, label


def _list(folder: Path) -> dict[str, Label] | None:
    """What a list beside the file says of each key: `KEY TAB LABEL`, or a space between them; None
    without one."""
    path = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if path is None:
        return None
    with Bytes(path) as file:
        if file.size > MOST_LIST:
            raise InputError(f"{path}: {file.size} bytes, at most {MOST_LIST} are read")
        lines = file.at(0, file.size).decode("utf-8", "surrogateescape").split("\n")
    said: dict[str, Label] = {}
    for number, line in enumerate(filter(None, map(str.strip, lines)), 1):
        cells = line.split("\t") if "\t" in line else line.rsplit(None, 1)
        if len(cells) < 2:
            raise InputError(f"{path}, line {number}: expected KEY, a tab, LABEL")
        try:
            label = label_of_text(cells[1])
            if said.setdefault(cells[0], label) != label:
                raise InputError("its key comes twice, with another label before")
        except (InputError, ValueError) as error:
            raise InputError(f"{path}, line {number}: {error}"[:300]) from None
    return said
