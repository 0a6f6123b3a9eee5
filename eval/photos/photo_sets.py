"""Sets of photographs to measure: which files they are, and the faces in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from eval.alignment import Alignment, Finder, alignment_by
from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.digests import merkle_root
from manifests.core.errors import InputError
from manifests.photographs.images import ImageFolder, ImageSource, at_once, image_hashes
from manifests.photographs.listing import list_images
from pipeline.arrays.align import Face, crop_photograph
from pipeline.arrays.frames import ARCFACE112

KINDS = ("orl", "pairs", "folder")


@dataclass(frozen=True)
class PhotographSet:
    """Photographs below one folder, named relative to it."""

    name: str
    folder: Path
    images: tuple[str, ...]
    square: bool = False  # they are aligned crops
    strangers: bool = False  # every photograph is of somebody else; folders name nobody

    @cached_property
    def sha256(self) -> dict[str, str]:
        """By name. Raises InputError naming all that are no photographs: ask before anything
        long is done with any."""
        return image_hashes(ImageFolder(self.folder), self.images, square=self.square)

    @cached_property
    def digest(self) -> str:
        """Merkle root over the names and hashes of all photographs. Raises InputError as `sha256`
        does."""
        return merkle_root(self.sha256)

    @property
    def repeats(self) -> dict[str, int]:
        """How many are the very bytes of another, and how many pictures are of several people."""
        owners: dict[str, set[str]] = {}
        for name, subject in zip(self.images, self.subjects, strict=True):
            owners.setdefault(self.sha256[name], set()).add(subject)
        several = sum(len(people) > 1 for people in owners.values())
        return {"repeated": len(self.images) - len(owners), "of_several_people": several}

    @property
    def subjects(self) -> tuple[str, ...]:
        """The person of each photograph: the folder it lies in; "" where there is none. Of
        strangers, itself."""
        if self.strangers:
            return self.images
        parents = (Path(name).parent.as_posix() for name in self.images)
        return tuple("" if parent == "." else parent for parent in parents)


def is_photographs(text: str) -> bool:
    """Does `text` name photographs, not a round?"""
    return text.partition(":")[0] in KINDS and (":" in text or text == "orl")


def may_show(text: str) -> bool:
    """Whether photographs are the user's own: those of a benchmark that comes with Facestill are
    never shown, by whatever name."""
    kind, argument = split_kind(text)
    ours = Path(argument).resolve().is_relative_to(layout.WEIGHTS.resolve())
    return kind in ("pairs", "folder") and bool(argument) and not ours


def open_photographs(text: str, *, square: bool = False, strangers: bool = False) -> PhotographSet:
    """orl; pairs:DIR, the photographs below DIR/images; folder:DIR, those below DIR.

    Raises InputError as `list_images` does.
    """
    kind, argument = split_kind(text)
    if kind == "orl" and argument:
        raise InputError(f"photographs orl take no folder, found {argument!r}")
    if kind != "orl" and not argument:
        raise InputError(f"photographs {kind} need a folder: {kind}:DIR")
    places = {"orl": layout.WEIGHTS / "orl", "pairs": Path(argument) / "images"}
    folder = places.get(kind, Path(argument))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {text} needs one with photographs")
    return PhotographSet(kind, folder, list_images(folder), square, strangers)


def found_faces(
    photographs: PhotographSet, alignment: Alignment | None = None
) -> Iterator[tuple[np.ndarray, Face]]:
    """Every photograph with the face that is meant in it, in the order of the names; by the usual
    aligner where none is said.

    Raises InputError naming all that cannot be decoded, before the first is looked at.
    """
    _ = photographs.digest
    find = (alignment or alignment_by()).find
    source = ImageFolder(photographs.folder)
    for pictures in at_once(source.picture(name) for name in photographs.images):
        yield from zip(pictures, find(pictures), strict=True)


def face_picture(source: ImageSource, name: str, find: Finder) -> UInt8[np.ndarray, "size size 3"]:
    """The face that is meant in a photograph, cut as networks see it, to be looked at."""
    picture = source.picture(name)
    (face,) = find([picture])
    crop = crop_photograph(picture, face, ARCFACE112)
    return crop.permute(1, 2, 0).byte().numpy()
