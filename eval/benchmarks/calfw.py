"""CALFW (Cross-Age LFW): photographs in one folder, and a list of two lines a pair.

    DIR/pairs_CALFW.txt, or FILE        image N, once for either image of a pair
    DIR/images/PERSON_0001.jpg          or in `images&landmarks/images/`, or in `aligned images/`

N is 0 on both lines of two people; of one person it is the pair's fold, from 1, or 1 throughout
(CPLFW). What the list leaves open is cut as LFW's: the k-th fold is the k-th equal part of the
pairs of a kind, in their order; ten parts where no folds are said.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eval.benchmarks.base import (
    FOLD,
    NUM_FOLDS,
    Protocol,
    as_benchmark,
    find_subject_rule,
    named,
    need_folder,
    warn_of_labels,
)
from eval.benchmarks.lfw import Line, equal_parts, read_lines
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, image_hashes

FOLDERS = ("images", "images&landmarks/images", "aligned images")  # the first that is there
Pair = tuple[str, str, int]  # two images, and the number on both lines


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the lines that are no pair of images that are there."""
    return open_list("calfw", "pairs_CALFW.txt", argument, square=square)


def open_list(kind: str, name: str, argument: str, *, square: bool) -> Protocol:
    """The protocol of such a list, in a file of this name where only a folder is said."""
    path = Path(argument)
    if not argument or not path.is_file():
        path = need_folder(kind, argument, f"{name} and images/") / name
    pairs, places = _pairs(path, f"{kind}:DIR needs {name} and images/")
    left, right, number = zip(*pairs, strict=True)
    same = np.array(number) > 0
    fold = _folds(path, np.array(number), same)
    rows = list(zip(fold.tolist(), left, right, same.tolist(), strict=True))
    source = _images(path)
    benchmark = as_benchmark(kind, rows, image_hashes(source, {*left, *right}, square=square))
    rule = find_subject_rule(left, right, same.tolist())
    if rule == "image":
        warn_of_labels(rows, places)
    return Protocol(benchmark, source, rule)


def _images(path: Path) -> ImageFolder:
    there = (path.parent / name for name in FOLDERS if (path.parent / name).is_dir())
    return ImageFolder(next(there, path.parent / FOLDERS[0]))


def _pairs(path: Path, needed: str) -> tuple[list[Pair], list[str]]:
    """Every pair, and where it stands."""
    lines, source, faults = read_lines(path, needed), _images(path), Faults(str(path))
    if not lines or len(lines) % 2:
        raise InputError(f"{path}: {len(lines)} lines, expected two of every pair")
    pairs, places = [], []
    for first, second in zip(lines[::2], lines[1::2], strict=True):
        with faults:
            where = f"{path}, lines {first[0]} and {second[0]}"
            pairs.append(_pair(where, source, first, second))
            places.append(where)
    faults.raise_any()
    return pairs, places


def _pair(where: str, source: ImageFolder, *lines: Line) -> Pair:
    for _, cells in lines:
        if len(cells) != 2 or not FOLD.fullmatch(cells[1]):
            raise InputError(f"{where}: {' '.join(cells)[:80]!r}, expected an image and a number")
    (left, number), (right, other) = (cells for _, cells in lines)
    if number != other:
        raise InputError(f"{where}: {number} and {other}, expected one number on both")
    if left == right:
        raise InputError(f"{where}: {left} is compared with itself; remove this pair")
    return named(where, source, left), named(where, source, right), int(number)


def _folds(path: Path, number: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Of genuine pairs as the list says, if it does; the rest in equal parts."""
    said = np.unique(number[same])
    if len(said) < 2:
        return equal_parts(path, same, min(NUM_FOLDS, int(same.sum()), int((~same).sum())))
    if not np.array_equal(said, np.arange(1, len(said) + 1)):
        raise InputError(f"{path}: genuine pairs in folds {said[:20].tolist()}, expected 1, 2, …")
    fold = equal_parts(path, same, len(said))
    fold[same] = number[same] - 1
    return fold
