"""CFP (Celebrities in Frontal-Profile), frontal against profile photographs.

    DIR/Protocol/Pair_list_F.txt, Pair_list_P.txt   number ../Data/Images/001/frontal/01.jpg
    DIR/Protocol/Split/FP/01/same.txt, diff.txt     number,number: of list F, of list P
    DIR/Data/Images/001/frontal/01.jpg, 001/profile/01.jpg

The folders of a split are its folds. Images are named below Data/Images, and are of the person
whose folder comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from eval.benchmarks.base import Protocol, Row, as_benchmark, named, need_folder
from eval.benchmarks.lfw import read_lines
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, image_hashes

HOLDS = "Protocol/Pair_list_F.txt, Protocol/Split/ and Data/Images/"
BEFORE = "../Data/Images/"  # the names in the lists
NUMBER = re.compile("[0-9]{1,6}")
Numbered = Mapping[int, str]


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the lines that are no pair of images that are there."""
    return open_split("FP", argument, square=square)


def open_split(split: str, argument: str, *, square: bool) -> Protocol:
    """`split`: two letters, of either side's list."""
    kind = f"cfp-{split.lower()}"
    root = need_folder(kind, argument, HOLDS)
    source, faults = ImageFolder(root / "Data/Images"), Faults(str(root))
    lists = {letter: _numbered(root, letter, source, faults) for letter in split}
    faults.raise_any()
    rows = list(_rows(root, split, lists, faults))
    faults.raise_any()
    if not rows:
        raise InputError(f"{root}: no pairs in Protocol/Split/{split}")
    names = {name for row in rows for name in row[1:3]}
    benchmark = as_benchmark(kind, rows, image_hashes(source, names, square=square))
    return Protocol(benchmark, source, "top")


def _numbered(root: Path, letter: str, source: ImageFolder, faults: Faults) -> Numbered:
    path = root / f"Protocol/Pair_list_{letter}.txt"
    found: dict[int, str] = {}
    for line, cells in read_lines(path, f"it lists the images; DIR has {HOLDS}"):
        where = f"{path}, line {line}"
        with faults:
            if len(cells) != 2 or not NUMBER.fullmatch(cells[0]) or int(cells[0]) in found:
                raise InputError(
                    f"{where}: {' '.join(cells)[:80]!r}, expected a new number and an image"
                )
            found[int(cells[0])] = named(where, source, cells[1].removeprefix(BEFORE))
    return found


def _rows(root: Path, split: str, lists: Mapping[str, Numbered], faults: Faults) -> Iterator[Row]:
    folder = root / "Protocol/Split" / split
    folds = sorted(path for path in folder.glob("*") if NUMBER.fullmatch(path.name))
    if not folds:
        raise InputError(f"{folder}: no folders 01, 02, … of folds; DIR has {HOLDS}")
    for fold, place in enumerate(folds):
        for name in ("same.txt", "diff.txt"):
            for line, cells in read_lines(place / name, "every fold has same.txt and diff.txt"):
                with faults:
                    where = f"{place / name}, line {line}"
                    yield fold, *_pair(where, "".join(cells), split, lists), name == "same.txt"


def _pair(where: str, text: str, split: str, lists: Mapping[str, Numbered]) -> tuple[str, str]:
    numbers = text.split(",")
    if len(numbers) != 2 or not all(map(NUMBER.fullmatch, numbers)):
        raise InputError(f"{where}: {text[:80]!r}, expected two numbers: 12,34")
    names = [lists[letter].get(int(n)) for letter, n in zip(split, numbers, strict=True)]
    for letter, number, name in zip(split, numbers, names, strict=True):
        if name is None:
            raise InputError(f"{where}: {number} is not in Pair_list_{letter}.txt")
    left, right = map(str, names)
    if left == right:
        raise InputError(f"{where}: {left} is compared with itself; remove this pair")
    return left, right
