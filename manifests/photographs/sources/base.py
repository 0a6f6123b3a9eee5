"""Sets of images as others publish them: which images there are, and who is on each.

A kind of set is a file here with `open_images(path, fields) -> ImageCollection`.
"""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from manifests.core.errors import InputError
from manifests.photographs.images import MOST_BYTES, ImageSource
from manifests.photographs.listing import list_files
from manifests.photographs.names import is_safe

Label = int | str | None  # who is on an image, as its set says it; None: it does not
Place = Sequence[int]  # number of a file; offset and bytes in it, of each part of an image
IDENTITIES = (  # what sets call it, the surest first
    "identity_id", "identity", "subject_id", "subject", "person_id", "person", "celeb_id",
    "class_id", "class", "label",
)  # fmt: skip
LONGEST_NAME, LONGEST_LABEL = 1024, 200  # characters, of an image and of a person
MOST_LABEL = 2**62


@dataclass(frozen=True)
class Fields:
    """What a set calls its images and who is on them; None: what is found."""

    image: str | None = None
    identity: str | None = None


AS_FOUND = Fields()


@dataclass(frozen=True)
class Places:
    """Where images lie: each in parts of one of the files; without files, each is the one of its
    name below the folder."""

    files: Sequence[Path] = ()
    of: Mapping[str, Place] = field(default_factory=dict)


class ImageCollection(ImageSource):
    """Images by name, in an order that does not change, and who is on each.

    Making one reads no more than where images lie; `read` takes them in any order, and is quick in
    that of the names."""

    root: Path  # as the user names it
    names: Sequence[str]  # no two alike
    labels: Sequence[Label]  # of the names

    @abstractmethod
    def places(self) -> Places | None:
        """For who is to read some of them elsewhere; None where they are no part of a file as it
        is."""

    def where(self, name: str) -> str:
        return f"{self.root}: image {name}"


@final
class ImageRanges(ImageCollection):
    """Images that are parts of files as they are."""

    def __init__(self, root: Path, places: Places, labels: Sequence[Label] = ()) -> None:
        self.root, self._places = root, places
        self.names, self.labels = tuple(places.of), labels

    def places(self) -> Places:
        return self._places

    def read(self, name: str) -> bytes:
        file, *parts = self._places.of[name]
        path = self._places.files[file]
        total = sum(parts[1::2])
        if total > MOST_BYTES:
            raise InputError(f"{self.where(name)}: {total} bytes, an image may have {MOST_BYTES}")
        try:
            with path.open("rb", buffering=0) as opened:
                pairs = zip(parts[::2], parts[1::2], strict=True)
                data = b"".join(os.pread(opened.fileno(), size, at) for at, size in pairs)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        if len(data) != total:
            raise InputError(f"{path}: ends within image {name}; bring it whole")
        return data


class Bytes:
    """A file that is read where one asks for it: nothing beyond its end, and never all of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise InputError(f"{path}: no such file")  # a pipe would be waited for
            self.file = path.open("rb", buffering=0)
            self.size = os.fstat(self.file.fileno()).st_size
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    def __enter__(self) -> Bytes:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes. Raises InputError where the file does not have them."""
        if 0 <= offset <= self.size - count:
            data = os.pread(self.file.fileno(), count, offset)
            if len(data) == count:
                return data
        raise InputError(
            f"{self.path}: cut short or damaged, {count} bytes at {offset} are missing; bring it "
            "whole"
        )


def open_files(path: Path, ending: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """A file, or all below a folder that end so, sorted; and what to put before the names of
    their images. They may be links, as in the cache of Hugging Face's hub. Raises InputError for
    none, and as `list_files` does."""
    if path.is_file():
        return (path,), ("",)
    names = list_files(path, {ending}, f"{ending} files")
    for name in names:
        if not (path / name).is_file():  # a pipe would be waited for
            raise InputError(f"{path / name}: no file, or a link that leads to none; remove it")
    return tuple(path / name for name in names), tuple(f"{name}/" for name in names)


def parse_label(value: Any) -> Label:
    """Who is on an image: a whole number, or a text of one line. A negative number, as libraries
    put where nothing is known, and an empty text are nobody. Raises InputError for anything else.
    """
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_LABEL:
        return value if value >= 0 else None
    if isinstance(value, str) and len(value) <= LONGEST_LABEL and is_safe(value):
        return value or None
    if value is None:
        return None
    shown = repr(value)[:40] if isinstance(value, int | float | str) else type(value).__name__
    raise InputError(
        f"its identity is {shown}; expected a whole number, or text of one line of up to "
        f"{LONGEST_LABEL} characters"
    )


def label_of_text(text: str) -> Label:
    """Of a file of text: digits are a number. Raises InputError as `parse_label` does, and
    ValueError for too many of them."""
    text = text.strip()
    return parse_label(int(text) if text.removeprefix("-").isdecimal() else text)


def pick_identity(known: Sequence[str], asked: str | None, where: object) -> str | None:
    """The field that says who it is: the one that is asked for, or one that sets call so.

    Raises InputError for one that is asked for and not there.
    """
    if asked is not None and asked not in known:
        there = ", ".join(name[:40] for name in known[:20]) or "none"
        raise InputError(f"{where}: --identity {asked}: not there; there are: {there}")
    return asked or next((name for name in IDENTITIES if name in known), None)


@final
class Named:
    """Names as they come: refused where they are no text of one line, or come twice."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.labels: list[Label] = []

    def add(self, where: object, name: str, place: Place, label: Label) -> None:
        """Raises InputError."""
        if len(name) > LONGEST_NAME or not is_safe(name):
            raise InputError(f"{where}: an image called {name[:80]!r}; expected text of one line")
        if name in self.places:
            raise InputError(f"{where}: two images are called {name}; name them apart")
        self.places[name] = place
        self.labels.append(label)

    def ranges(self, root: Path, files: Sequence[Path]) -> ImageRanges:
        """Raises InputError where images lie in one another: few bytes could claim to be many."""
        claimed = sum(sum(place[2::2]) for place in self.places.values())
        there = sum(path.stat().st_size for path in files)
        if claimed > there:
            raise InputError(
                f"{root}: its images claim {claimed:,} bytes of {there:,}, as they lie in one "
                "another; write the set anew"
            )
        return ImageRanges(root, Places(files, self.places), self.labels)
