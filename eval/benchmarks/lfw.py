"""LFW, and what is published as it: pairs.txt and one folder a person.

    DIR/pairs.txt, or FILE              person a b, or person a person b, tab-separated
    DIR/PERSON/PERSON_0001.jpg          beside the list; or .jpeg, .png

A first line of two numbers says how many folds there are and how many pairs of each kind in one
(View 2: 10, 300), one of a single number how many of each kind (View 1: pairsDevTest.txt). The
k-th fold is the k-th equal part of the genuine pairs and of the impostor pairs, in their order;
ten parts where no number of folds is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.benchmarks.base import NUM_FOLDS, Protocol, as_benchmark, named, need_folder
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, image_hashes

LIST = "pairs.txt"
HOLDS = f"{LIST} and PERSON/PERSON_0001.jpg"
ENDS = (".jpg", ".jpeg", ".png")
NUMBER = re.compile("[0-9]{1,6}")
MOST_FOLDS = 1000
Line = tuple[int, list[str]]  # its number, from 1, and its cells


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the line of a pair over an unknown person or photograph, and for
    other numbers of pairs than the first line says."""
    path = Path(argument)
    if not argument or not path.is_file():
        path = need_folder("lfw", argument, HOLDS) / LIST
    lines = read_lines(path, f"lfw:DIR needs {HOLDS}")
    header, source, faults = _header(lines), ImageFolder(path.parent), Faults(str(path))
    pairs = []
    for number, cells in lines[1:] if header else lines:
        with faults:
            pairs.append(pair(f"{path}, line {number}", source, "", cells))
    faults.raise_any()
    same = np.array([own for *_, own in pairs], bool)
    fold = _folds(path, same, header)
    rows = [(number, *own) for number, own in zip(fold.tolist(), pairs, strict=True)]
    hashes = image_hashes(source, {name for row in rows for name in row[1:3]}, square=square)
    return Protocol(as_benchmark("lfw", rows, hashes), source, "folder")


def _header(lines: Sequence[Line]) -> list[int]:
    """The numbers of a first line that is no pair."""
    cells = lines[0][1] if lines else []
    numbers = len(cells) < 3 and all(NUMBER.fullmatch(cell) for cell in cells)
    return [int(cell) for cell in cells] if numbers else []


def _folds(path: Path, same: np.ndarray, header: Sequence[int]) -> np.ndarray:
    kinds = (int(same.sum()), int((~same).sum()))
    wanted = int(np.prod(header)) if header else None
    if wanted is not None and kinds != (wanted, wanted):
        raise InputError(
            f"{path}: {kinds[0]} genuine and {kinds[1]} impostor pairs, its first line promises "
            f"{wanted} of each"
        )
    return equal_parts(path, same, header[0] if len(header) == 2 else min(NUM_FOLDS, *kinds))


def equal_parts(path: Path, same: np.ndarray, num_folds: int) -> np.ndarray:
    """Folds: the k-th is the k-th equal part of the genuine pairs and of the impostor pairs."""
    if not 2 <= num_folds <= MOST_FOLDS:
        raise InputError(
            f"{path}: {int(same.sum())} genuine and {int((~same).sum())} impostor pairs in "
            f"{num_folds} folds; 2 to {MOST_FOLDS} folds of both kinds are needed"
        )
    fold = np.empty(len(same), np.int16)
    for kind in (same, ~same):
        parts = np.array_split(np.flatnonzero(kind), num_folds)
        for number, rows in enumerate(parts):
            fold[rows] = number
    return fold


def read_lines(path: Path, needed: str) -> list[Line]:
    """As `text_lines`, in cells parted by tabs or else by spaces."""
    return [(number, line.split()) for number, line in text_lines(path, needed)]


def text_lines(path: Path, needed: str) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1.

    Raises InputError for a file that is missing, cannot be read or is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {needed}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {needed}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None
    lines = enumerate(text.splitlines(), 1)
    return [(number, line) for number, line in lines if line.strip()]


def pair(
    where: str, source: ImageFolder, inside: str, cells: Sequence[str]
) -> tuple[str, str, bool]:
    """Two images and whether they are of one person, of folders below `inside` of the source."""
    if len(cells) not in (3, 4) or not all(NUMBER.fullmatch(n) for n in (cells[1], cells[-1])):
        raise InputError(f"{where}: {' '.join(cells)[:80]!r}, expected person a b, or two of both")
    people = [cells[0], cells[2] if len(cells) == 4 else cells[0]]
    if len(cells) == 4 and people[0] == people[1]:
        raise InputError(f"{where}: two people expected, {people[0]} is named twice")
    left, right = (
        _image(where, source, f"{inside}{person}", person, int(number))
        for person, number in zip(people, (cells[1], cells[-1]), strict=True)
    )
    if left == right:
        raise InputError(f"{where}: {left} is compared with itself; remove this pair")
    return left, right, len(cells) == 3


def _image(where: str, source: ImageFolder, folder: str, person: str, number: int) -> str:
    if "/" in person or person in (".", ".."):
        raise InputError(f"{where}: no person {person!r} in {(source.root / folder).parent}")
    names = [f"{folder}/{person}_{number:04}{end}" for end in ENDS]
    found = [name for name in names if (source.root / name).is_file()]
    return found[0] if found else named(where, source, names[0])
