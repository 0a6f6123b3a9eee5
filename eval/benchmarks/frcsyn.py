"""FRCSyn's comparison files (WACV 2024, CVPR 2024): pairs of photographs, a line each.

    FILE            SET_comparison.txt: LEFT;RIGHT, or LEFT;RIGHT;1 (one person) and LEFT;RIGHT;0
    beside it       the images, in SET/ or in the folder that the set itself has:
    bupt            race_per_7000/RACE/PERSON/IMAGE.jpg, of BUPT-BalancedFace; groups are its races
    agedb           03_Protocol_Images/NUMBER_NAME_AGE_SEX.jpg
    cfp-fp          cfp-dataset/Data/Images/PERSON/frontal/01.jpg
    rof             ROF/…/PERSON/IMAGE.jpg

The files that participants were given have no labels: whose a photograph is its name says, as
above. Other sets need them. Folds are the k-th tenths, in their order, of the genuine and of the
impostor pairs of each group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int

from eval.benchmarks.base import (
    NUM_FOLDS,
    RULES,
    Protocol,
    as_benchmark,
    find_subject_rule,
    named,
    require_possible,
)
from eval.benchmarks.bin import contiguous
from eval.benchmarks.lfw import text_lines
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, image_hashes

ENDS = "_comparison"
HOLDS = "SET_comparison.txt with lines LEFT;RIGHT, and beside it the images"
LABELS = {"1": True, "0": False}


def _name_of(path: PurePosixPath) -> str:
    """0_MariaCallas_35_f.jpg is of MariaCallas; what is before the name are numbers."""
    cells = path.stem.split("_")
    return next((cell for cell in cells if not cell.isdecimal()), path.stem)


def _race_of(path: PurePosixPath) -> str:
    return path.parts[0] if len(path.parts) > 1 else ""


@dataclass(frozen=True)
class Set:
    """What the names of a set's photographs tell."""

    folder: str
    person: Callable[[PurePosixPath], str]
    group: Callable[[PurePosixPath], str] | None = None


SETS = {
    # Others tell its people apart by names without case.
    "bupt": Set("race_per_7000", lambda path: path.parent.as_posix().casefold(), _race_of),
    "agedb": Set("03_Protocol_Images", _name_of),
    "cfp-fp": Set("cfp-dataset/Data/Images", lambda path: path.parts[0]),
    "rof": Set("ROF", lambda path: path.parent.name),
}


@dataclass(frozen=True)
class Pair:
    left: str
    right: str
    same: bool
    group: str  # "": the two are of two groups


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the line of a photograph that is missing, and for a set without
    labels whose names are not known to tell whose a photograph is."""
    path = Path(argument)
    if not argument or not path.is_file():
        raise InputError(f"benchmark frcsyn: {argument or 'nothing'}: no such file; name {HOLDS}")
    name = path.stem.removesuffix(ENDS)
    known = SETS.get(name)
    source, faults = ImageFolder(_images(path, name, known)), Faults(str(path))
    lines: dict[str, Pair] = {}
    for number, line in text_lines(path, f"name {HOLDS}"):
        with faults:
            where = f"{path}, line {number}"
            lines[where] = _pair(where, source, line, known)
    faults.raise_any()
    if not lines:
        raise InputError(f"{path}: no pairs")
    pairs = [*lines.values()]
    rows = [(0, pair.left, pair.right, pair.same) for pair in pairs]
    require_possible(rows, [*lines])
    rows = [(fold, *row[1:]) for fold, row in zip(_folds(pairs).tolist(), rows, strict=True)]
    _, left, right, same = zip(*rows, strict=True)
    hashes = image_hashes(source, {*left, *right}, square=square)
    group = [pair.group for pair in pairs] if known and known.group else None
    try:
        benchmark = as_benchmark(f"frcsyn {name}", rows, hashes, group)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Protocol(benchmark, source, find_subject_rule(left, right, same, (*RULES, "top")))


def _images(path: Path, name: str, known: Set | None) -> Path:
    """The folder of the images."""
    folders = [path.parent / name, *([path.parent / known.folder] if known else [])]
    there = next((folder for folder in folders if folder.is_dir()), None)
    if there is None:
        raise InputError(
            f"{path}: its images are in no folder {' or '.join(map(str, folders))}; bring them "
            "there, under the names that the lines have"
        )
    return there


def _pair(where: str, source: ImageFolder, line: str, known: Set | None) -> Pair:
    left, *rest = (cell.strip() for cell in line.split(";"))
    if len(rest) not in (1, 2) or not all((left, *rest)):
        raise InputError(f"{where}: {line[:80]!r}, expected LEFT;RIGHT or LEFT;RIGHT;1")
    if len(rest) == 2 and rest[1] not in LABELS:
        raise InputError(f"{where}: label {rest[1][:40]!r}, expected 1 (one person) or 0")
    if len(rest) == 1 and known is None:
        raise InputError(
            f"{where}: no label, and only of {', '.join(SETS)} names tell who is who; write "
            "LEFT;RIGHT;1 or LEFT;RIGHT;0"
        )
    names = [named(where, source, name) for name in (left, rest[0])]
    paths = [PurePosixPath(name) for name in names]
    people = [known.person(path) for path in paths] if known else []
    same = LABELS[rest[1]] if len(rest) == 2 else people[0] == people[1]
    groups = {known.group(path) for path in paths} if known and known.group else set()
    return Pair(names[0], names[1], same, groups.pop() if len(groups) == 1 else "")


def _folds(pairs: list[Pair]) -> Int[np.ndarray, " pair"]:
    """Ten, or as many as one group at least has pairs of either kind."""
    keys = [(pair.same, pair.group) for pair in pairs]
    sizes = Counter(keys)
    most = [max((sizes[key] for key in sizes if key[0] == kind), default=0) for kind in (0, 1)]
    count = max(2, min(NUM_FOLDS, *most))
    fold = np.zeros(len(pairs), np.int64)
    for key in sizes:
        rows = np.array([row for row, own in enumerate(keys) if own == key])
        fold[rows] = contiguous(len(rows), count)
    return fold
