"""Image sets that exist already: which images a folder holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from manifests.core.errors import Faults
from manifests.photographs.images import ImageFolder, checked_images
from manifests.photographs.listing import list_images


@dataclass(frozen=True)
class ImageSet:
    """The images below a folder, in the order of their hashes: a person's lie far apart, and a
    renamed file keeps its row."""

    root: Path
    names: tuple[str, ...]  # relative to it
    sha256: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def digest(self) -> str:
        """sha256 over the sorted hashes of all images."""
        return hashlib.sha256("\n".join(self.sha256).encode()).hexdigest()

    @cached_property
    def identity(self) -> np.ma.MaskedArray:
        """Number of the folder that each image lies in; masked for those in no folder."""
        folders = [Path(name).parent.as_posix() for name in self.names]
        number = {folder: at for at, folder in enumerate(sorted({*folders} - {"."}))}
        values = np.array([number.get(folder, -1) for folder in folders], np.int64)
        return np.ma.masked_less(values, 0)


def read_image_set(root: Path, *, aligned: bool) -> ImageSet:
    """Every image below `root`, each decoded once to see that it can be.

    Raises InputError as `list_images` does, and naming all images that cannot be read, those of
    the same bytes as another and, of `aligned` ones, those that are not square or of another size
    than the first.
    """
    names = list_images(root)
    faults, source = Faults(str(root)), ImageFolder(root)
    found: dict[str, str] = {}
    sides: tuple[str, int] | None = None
    for name, sha256, (width, height) in checked_images(source, names, faults, square=aligned):
        sides = sides or (name, width)
        if aligned and width != sides[1]:
            faults.note(
                f"{source.where(name)}: {width}x{height} pixels, {sides[0]} has {sides[1]}x"
                f"{sides[1]}; aligned crops are of one size: leave --frame out to detect faces"
            )
        if sha256 in found:
            faults.note(
                f"{source.where(name)}: the same bytes as {found[sha256]}; remove one of them"
            )
        found.setdefault(sha256, name)
    faults.raise_any()
    hashes = tuple(sorted(found))
    return ImageSet(root, tuple(found[sha256] for sha256 in hashes), hashes)
