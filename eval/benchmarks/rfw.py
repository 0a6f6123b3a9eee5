"""RFW (Racial Faces in-the-Wild): four groups of people, each with its own ten folds of pairs.

    DIR/txts/GROUP/GROUP_pairs.txt      person a b, or person a person b, tab-separated
    DIR/data/GROUP/PERSON/PERSON_0001.jpg

The k-th fold of the protocol is the k-th folds of all groups together. Lines of a group are cut
into ten equal blocks, in their order; a first line of two numbers (ten folds, pairs of each kind a
fold), as LFW's lists have, is no pair.
"""

from __future__ import annotations

from pathlib import Path

from eval.benchmarks.base import NUM_FOLDS, Protocol, Row, as_benchmark, need_folder
from eval.benchmarks.lfw import pair, read_lines
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, image_hashes

GROUPS = ("African", "Asian", "Caucasian", "Indian")
HOLDS = "txts/GROUP/GROUP_pairs.txt and data/GROUP/PERSON/PERSON_0001.jpg"


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the line of a pair over an unknown person or photograph."""
    root = need_folder("rfw", argument, HOLDS)
    source, faults = ImageFolder(root / "data"), Faults(str(root))
    rows: list[Row] = []
    for group in GROUPS:
        with faults:
            rows += _rows(root, group, source, faults)
    faults.raise_any()
    hashes = image_hashes(source, {name for row in rows for name in row[1:3]}, square=square)
    benchmark = as_benchmark("rfw", rows, hashes)
    return Protocol(benchmark, source, "folder", grouped=True)


def _rows(root: Path, group: str, source: ImageFolder, faults: Faults) -> list[Row]:
    path = root / "txts" / group / f"{group}_pairs.txt"
    lines = read_lines(path, f"rfw:DIR needs {HOLDS}")
    if lines and len(lines[0][1]) == 2 and lines[0][1][0] == str(NUM_FOLDS):
        lines = lines[1:]
    if not lines or len(lines) % NUM_FOLDS:
        raise InputError(f"{path}: {len(lines)} pairs, expected {NUM_FOLDS} folds of equal size")
    size = len(lines) // NUM_FOLDS
    rows = []
    for index, (number, cells) in enumerate(lines):
        with faults:
            own = pair(f"{path}, line {number}", source, f"{group}/", cells)
            rows.append((index // size, *own))
    return rows
