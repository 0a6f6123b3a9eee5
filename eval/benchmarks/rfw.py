"""RFW (Racial Faces in-the-Wild): four groups of people, each with its own ten folds of pairs.

    DIR/txts/GROUP/GROUP_pairs.txt      person a b, or person a person b, tab-separated
    DIR/data/GROUP/PERSON/PERSON_0001.jpg

The k-th fold of the protocol is the k-th folds of all groups together. Lines of a group are cut
into ten equal blocks, in their order; a first line of two numbers (ten folds, pairs of each kind a
fold), as LFW's lists have, is no pair.
"""

from __future__ import annotations

import re
from pathlib import Path

from eval.benchmarks.base import NUM_FOLDS, Protocol, Row, as_benchmark, need_folder
from manifests.core.errors import InputError
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.protocols import ALIGNMENT

GROUPS = ("African", "Asian", "Caucasian", "Indian")
NUMBER = re.compile("[0-9]{1,6}")
HOLDS = "txts/GROUP/GROUP_pairs.txt and data/GROUP/PERSON/PERSON_0001.jpg"


def open_protocol(argument: str) -> Protocol:
    """Raises InputError naming the line of a pair over an unknown person or photograph."""
    root = need_folder("rfw", argument, HOLDS)
    rows = [row for group in GROUPS for row in _rows(root, group)]
    source = ImageFolder(root / "data")
    hashes = image_hashes(source, {name for row in rows for name in row[1:3]})
    benchmark = as_benchmark("rfw", rows, hashes, ALIGNMENT)
    return Protocol(benchmark, source, "folder", grouped=True)


def _rows(root: Path, group: str) -> list[Row]:
    path = root / "txts" / group / f"{group}_pairs.txt"
    lines = _lines(path)
    if lines and len(lines[0][1]) == 2 and lines[0][1][0] == str(NUM_FOLDS):
        lines = lines[1:]
    if not lines or len(lines) % NUM_FOLDS:
        raise InputError(f"{path}: {len(lines)} pairs, expected {NUM_FOLDS} folds of equal size")
    size = len(lines) // NUM_FOLDS
    return [
        (index // size, *_pair(f"{path}, line {number}", root / "data", group, cells))
        for index, (number, cells) in enumerate(lines)
    ]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; rfw:DIR needs {HOLDS}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None
    lines = enumerate(text.splitlines(), 1)
    return [(number, line.split()) for number, line in lines if line.strip()]


def _pair(where: str, data: Path, group: str, cells: list[str]) -> tuple[str, str, bool]:
    if len(cells) not in (3, 4) or not all(NUMBER.fullmatch(n) for n in (cells[1], cells[-1])):
        raise InputError(f"{where}: {' '.join(cells)[:80]!r}, expected person a b, or two of both")
    people = [cells[0], cells[2] if len(cells) == 4 else cells[0]]
    if len(cells) == 4 and people[0] == people[1]:
        raise InputError(f"{where}: two people expected, {people[0]} is named twice")
    left, right = (
        _image(where, data, group, person, number)
        for person, number in zip(people, (cells[1], cells[-1]), strict=True)
    )
    return left, right, len(cells) == 3


def _image(where: str, data: Path, group: str, person: str, number: str) -> str:
    name = f"{group}/{person}/{person}_{int(number):04}.jpg"
    if "/" in person or not (data / group / person).is_dir():
        raise InputError(f"{where}: no person {person!r} in {data / group}")
    if not (data / name).is_file():
        raise InputError(f"{where}: {data / name} is missing")
    return name
