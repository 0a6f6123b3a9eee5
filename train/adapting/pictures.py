"""Pictures of the same people in two modalities, from a folder a modality.

    DIR/visible/PERSON/IMAGE      what the network knows
    DIR/thermal/PERSON/IMAGE      what the block is to make of it

All are crops in one named frame, square, of any number of pixels; a person has one or more of
each, and their numbers need not agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import Faults, InputError
from manifests.core.progress import Bar
from manifests.photographs.images import ImageFolder, decode
from manifests.photographs.listing import list_images, say_left_out
from pipeline.arrays.frames import Frame, to_frame
from train.adapting.contrast import Modality

VISIBLE = "visible"
LEAST_PEOPLE = 2
MOST_BYTES = 8 << 30  # of decoded pictures, which are held in memory


@dataclass(frozen=True)
class Pairs:
    """The people who are in both modalities."""

    people: tuple[str, ...]
    source: Modality
    target: Modality
    sha256: str  # over modality, name and bytes of every picture


def read_pairs(folder: Path, target: str, stored: Frame, seen: Frame) -> Pairs:
    """Crops in the frame `stored` (its number of pixels is the picture's own), resampled to the
    frame `seen`. Who is in one modality alone is left out, and counted on stderr.

    Raises InputError naming all pictures that cannot be read, are not square or lie in no folder
    of a person, for less than two people, and for more than memory is meant to hold.
    """
    if target == VISIBLE or not PurePosixPath(target).name == target or target in ("", ".", ".."):
        raise InputError(
            f"modality {target[:80]!r}: name the folder in {folder} beside {VISIBLE}, as in thermal"
        )
    roots = {name: folder / name for name in (VISIBLE, target)}
    names = {name: list_images(root) for name, root in roots.items()}
    _require_people(roots, names)
    both = {_person(n) for n in names[VISIBLE]} & {_person(n) for n in names[target]}
    if len(both) < LEAST_PEOPLE:
        raise InputError(
            f"{folder}: {len(both)} people are in {VISIBLE} and in {target}; a person has a folder "
            f"of one name in both, and at least {LEAST_PEOPLE} are needed"
        )
    for name, root in roots.items():
        alone = [each for each in names[name] if _person(each) not in both]
        if alone:
            say_left_out(root, alone, len(names[name]), "their people are in one modality alone")
        names[name] = tuple(each for each in names[name] if _person(each) in both)
    people = tuple(sorted(both))
    sides: list[Modality] = []
    digests = []
    for name, root in roots.items():
        pictures, hashes = _read(root, names[name], stored, seen)
        person = np.searchsorted(people, [_person(each) for each in names[name]])
        sides.append(Modality(pictures, person))
        digests += [[name, *each] for each in zip(names[name], hashes, strict=True)]
    return Pairs(people, sides[0], sides[1], sha256_text(canonical_json(digests)))


def _person(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _require_people(roots: dict[str, Path], names: dict[str, tuple[str, ...]]) -> None:
    faults = Faults("pairs")
    for modality, root in roots.items():
        for name in names[modality]:
            if "/" not in name:
                faults.note(f"{root / name}: lies in no folder of a person; make one")
    faults.raise_any()


def _read(
    root: Path, names: Sequence[str], stored: Frame, seen: Frame
) -> tuple[UInt8[Tensor, "picture 3 size size"], list[str]]:
    if len(names) * 3 * seen.size**2 > MOST_BYTES:
        raise InputError(
            f"{root}: {len(names):,} pictures, more than {MOST_BYTES >> 30} GiB at {seen.size} "
            "pixels; a block learns from few: leave people out"
        )
    source, faults, hashes = ImageFolder(root), Faults(str(root)), []
    pictures = torch.empty(len(names), 3, seen.size, seen.size, dtype=torch.uint8)
    for row, name in enumerate(Bar(names, desc=f"read {root.name}", unit="image")):
        with faults:
            data = source.read(name)
            picture = decode(data, source.where(name))
            height, width, _ = picture.shape
            if height != width:
                raise InputError(
                    f"{root / name}: {width}x{height} pixels; an aligned crop is square"
                )
            pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
            pictures[row] = to_frame(pixels, stored.at(height), seen)[0].round().clamp(0, 255)
            hashes.append(hashlib.sha256(data).hexdigest())
    faults.raise_any()
    return pictures, hashes
