"""Image sets that exist already: which images they hold, and who is on each."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from manifests.core.backends import find_backend
from manifests.core.bounds import MOST
from manifests.core.errors import Faults, InputError
from manifests.photographs import sources
from manifests.photographs.images import checked_images
from manifests.photographs.sources.base import AS_FOUND, Fields, ImageCollection, Label
from manifests.stores.latents import FOLDER


@dataclass(frozen=True)
class Wanted:
    """A set as it is asked for."""

    path: Path
    kind: str = FOLDER  # a file of manifests.photographs.sources
    fields: Fields = AS_FOUND
    leave_out_twins: bool = False  # images of the same bytes; False: they are faults

    def open(self) -> ImageCollection:
        """Raises InputError for an unknown kind, and as that kind's `open_images` does."""
        backend = find_backend(sources, "kind of image set", self.kind)
        found: ImageCollection = backend.open_images(self.path, self.fields)
        return found


@dataclass(frozen=True)
class ImageSet:
    """The images of a set, in the order of their hashes: a person's lie far apart, and a renamed
    file keeps its row."""

    source: ImageCollection
    names: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: tuple[Label, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def root(self) -> Path:
        return self.source.root

    @property
    def in_their_order(self) -> tuple[str, ...]:
        """The names in that of their source."""
        kept = {*self.names}
        return tuple(filter(kept.__contains__, self.source.names))

    @cached_property
    def digest(self) -> str:
        """sha256 over the sorted hashes of all images."""
        return hashlib.sha256("\n".join(self.sha256).encode()).hexdigest()

    @cached_property
    def identity(self) -> np.ma.MaskedArray:
        """A number for who is on each image; masked where the set does not say."""
        return np.ma.masked_less(np.array(numbered(self.labels), np.int64), 0)


def numbered(labels: Sequence[Label]) -> list[int]:
    """Numbers as they are; texts, and numbers that are too large to be rows, by their place in the
    sorted list of all. -1 for None. Raises InputError for 1 beside "1"."""
    known = {label for label in labels if label is not None}
    if all(isinstance(label, int) and label <= MOST for label in known):
        return [label if isinstance(label, int) else -1 for label in labels]
    numbers = [label for label in known if isinstance(label, int)]
    if len({*map(str, known)}) < len(known):
        twice = min({label for label in known if isinstance(label, str)} & {*map(str, numbers)})
        raise InputError(f"identity {twice} is a number on some images, a text on others; mend it")
    mixed = any(isinstance(label, str) for label in known)
    number = {each: at for at, each in enumerate(sorted(known, key=str if mixed else int))}
    return [-1 if label is None else number[label] for label in labels]


def read_image_set(wanted: Wanted, *, aligned: bool) -> ImageSet:
    """Every image of a set, each decoded once to see that it can be.

    Raises InputError as `Wanted.open` does, and naming all images that cannot be read, those of
    the same bytes as another (unless they are to be left out) and, of `aligned` ones, those that
    are not square or of another size than the first.
    """
    source = wanted.open()
    faults, twins = Faults(str(source.root)), Twins(source, wanted)
    sides: tuple[str, int] | None = None
    for name, sha256, (width, height) in checked_images(
        source, source.names, faults, square=aligned
    ):
        sides = sides or (name, width)
        if aligned and width != sides[1]:
            faults.note(
                f"{source.where(name)}: {width}x{height} pixels, {sides[0]} has {sides[1]}x"
                f"{sides[1]}; aligned crops are of one size: leave --frame out to detect faces"
            )
        with faults:
            twins.add(name, sha256)
    faults.raise_any()
    return twins.image_set()


class Twins:
    """Images by their hashes, and what becomes of those that have the same."""

    def __init__(self, source: ImageCollection, wanted: Wanted) -> None:
        self.source, self.wanted = source, wanted
        self.label = dict(zip(source.names, source.labels, strict=True))
        self.first: dict[str, str] = {}  # name by hash
        self.disputed: set[str] = set()  # hashes of images that two people are said to be on
        self.count = 0

    def add(self, name: str, sha256: str) -> None:
        """Raises InputError for a second one that is not to be left out."""
        first = self.first.setdefault(sha256, name)
        if first == name:
            return
        if not self.wanted.leave_out_twins:
            folder = self.wanted.kind == FOLDER
            remedy = "remove one of them" if folder else "leave them out: --leave-out-twins"
            raise InputError(f"{self.source.where(name)}: the same bytes as {first}; {remedy}")
        self.count += 1
        if self.label[first] != self.label[name]:
            self.disputed.add(sha256)

    def image_set(self) -> ImageSet:
        """Those that are kept: one of each, none of two people."""
        if self.count:
            print(
                f"{self.source.root}: {self.count:,} images left out, of the same bytes as others; "
                f"and {len(self.disputed):,} of those, as they are said to be of two people",
                file=sys.stderr,
            )
        hashes = tuple(sorted(self.first.keys() - self.disputed))
        names = tuple(self.first[sha256] for sha256 in hashes)
        return ImageSet(self.source, names, hashes, tuple(self.label[name] for name in names))
