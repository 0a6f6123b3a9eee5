"""Image sets that exist already: which images a folder holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from manifests.core.errors import InputError
from manifests.photographs.images import ENDINGS, ImageFolder, check_readable


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

    Raises InputError for a folder without images, a link that leads out of it or to a folder, an
    image or folder that cannot be read, two of the same bytes and, of `aligned` ones, one that is
    not square or of another size than the first.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; folder:DIR needs one with images")
    names = sorted(_names(root))
    if not names:
        raise InputError(f"{root}: no images ({', '.join(sorted(ENDINGS))}) below it")
    source, first = ImageFolder(root), (0, 0)
    found: dict[str, str] = {}
    for name in tqdm(names, desc="check images", unit="image", leave=False, delay=2):
        data = source.read(name)
        size = check_readable(data, source.where(name), square=aligned)
        first = size if name == names[0] else first
        if aligned and size != first:
            raise InputError(
                f"{source.where(name)}: {size[0]}x{size[1]} pixels, {names[0]} has {first[0]}x"
                f"{first[1]}; aligned crops are of one size: leave --frame out to detect faces"
            )
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in found:
            raise InputError(
                f"{source.where(name)}: the same bytes as {found[sha256]}; remove one of them"
            )
        found[sha256] = name
    hashes = tuple(sorted(found))
    return ImageSet(root, tuple(found[sha256] for sha256 in hashes), hashes)


def _names(root: Path) -> Iterator[str]:
    for folder, below, files in os.walk(root, onerror=_refuse):
        for name in below:
            if (Path(folder) / name).is_symlink():
                raise InputError(
                    f"{Path(folder) / name}: a link to a folder; bring the folder itself in there"
                )
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            if Path(name).suffix.lower() in ENDINGS and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _refuse(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: cannot be read ({error.strerror}); change its permissions, or move it "
        "out of there"
    ) from None
