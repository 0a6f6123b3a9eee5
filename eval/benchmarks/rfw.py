"""RFW (Racial Faces in-the-Wild): four groups of people, each with its own ten folds of pairs.

    DIR/txts/GROUP/GROUP_pairs.txt      person a b, or person a person b, tab-separated
    DIR/data/GROUP/PERSON/PERSON_0001.jpg

or, where there are no lists, as RFW is given away for InsightFace's evaluation

    DIR/GROUP_test.bin (or GROUP.bin)   as in bin.py: crops in the frame arcface112

The k-th fold of the protocol is the k-th folds of all groups together. Pairs of a group are cut
into ten equal blocks, in their order; a first line of two numbers (ten folds, pairs of each kind a
fold), as LFW's lists have, is no pair.
"""

from __future__ import annotations

from pathlib import Path

from eval.benchmarks.base import NUM_FOLDS, Protocol, Row, as_benchmark, need_folder
from eval.benchmarks.bin import contiguous, read_bin
from eval.benchmarks.lfw import pair, read_lines
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, ImageList, ImageSource, image_hashes
from manifests.photographs.scores import SubjectRule
from pipeline.arrays.frames import ARCFACE112, Frame

GROUPS = ("African", "Asian", "Caucasian", "Indian")
PACKED = ("{}_test.bin", "{}.bin")
HOLDS = (
    "txts/GROUP/GROUP_pairs.txt and data/GROUP/PERSON/PERSON_0001.jpg, or GROUP_test.bin of "
    f"{', '.join(GROUPS)}"
)


def frame_of(argument: str) -> Frame | None:
    """Of packed images."""
    return ARCFACE112 if _packed(Path(argument)) else None


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the line of a pair over an unknown person or photograph, or the
    file of a group that is missing."""
    root = need_folder("rfw", argument, HOLDS)
    source: ImageSource
    rule: SubjectRule
    if _packed(root):
        source, rows = _open_packed(root)
        rule = "image"
    else:
        source, rows = _open_lists(root)
        rule = "folder"
    hashes = image_hashes(source, {name for row in rows for name in row[1:3]}, square=square)
    groups = [left.partition("/")[0] for _, left, _, _ in rows]
    return Protocol(as_benchmark("rfw", rows, hashes, groups), source, rule)


def _packed(root: Path) -> bool:
    """Whether pairs are packed with their images: where there are lists, these are meant."""
    names = (form.format(group) for group in GROUPS for form in PACKED)
    return not (root / "txts").is_dir() and any((root / name).is_file() for name in names)


def _open_packed(root: Path) -> tuple[ImageList, list[Row]]:
    images: dict[str, bytes] = {}
    rows: list[Row] = []
    faults = Faults(str(root))
    for group in GROUPS:
        with faults:
            own, pairs = read_bin(_file_of(root, group), f"{group}/")
            images |= own
            rows += pairs
    faults.raise_any()
    return ImageList(root, images), rows


def _file_of(root: Path, group: str) -> Path:
    there = [path for form in PACKED if (path := root / form.format(group)).is_file()]
    if len(there) != 1:
        found = "both are there" if there else "neither is there"
        names = " or ".join(form.format(group) for form in PACKED)
        raise InputError(f"{root}: {names}: {found}; bring one for each of {', '.join(GROUPS)}")
    return there[0]


def _open_lists(root: Path) -> tuple[ImageFolder, list[Row]]:
    source, faults = ImageFolder(root / "data"), Faults(str(root))
    rows: list[Row] = []
    for group in GROUPS:
        with faults:
            rows += _rows(root, group, source, faults)
    faults.raise_any()
    return source, rows


def _rows(root: Path, group: str, source: ImageFolder, faults: Faults) -> list[Row]:
    path = root / "txts" / group / f"{group}_pairs.txt"
    lines = read_lines(path, f"rfw:DIR needs {HOLDS}")
    if lines and len(lines[0][1]) == 2 and lines[0][1][0] == str(NUM_FOLDS):
        lines = lines[1:]
    if not lines or len(lines) % NUM_FOLDS:
        raise InputError(f"{path}: {len(lines)} pairs, expected {NUM_FOLDS} folds of equal size")
    rows = []
    folds = contiguous(len(lines), NUM_FOLDS)
    for fold, (number, cells) in zip(folds.tolist(), lines, strict=True):
        with faults:
            own = pair(f"{path}, line {number}", source, f"{group}/", cells)
            rows.append((fold, *own))
    return rows
