"""A folder of photographs with pairs.csv (fold,left,right,same) and images/."""

from __future__ import annotations

import re
from pathlib import Path

from eval.benchmarks.base import Protocol, Row, as_benchmark, find_subject_rule, need_folder
from eval.listings import read_csv
from eval.photographs import ImageFolder, image_hashes
from manifests.benchmarks import ALIGNMENT
from manifests.errors import InputError

FOLD = re.compile("[0-9]{1,3}")
COLUMNS = ["fold", "left", "right", "same"]


def open_protocol(argument: str) -> Protocol:
    """The protocol as it lies in the folder.

    Raises InputError naming the line for a missing image, a bad number or an empty fold.
    """
    folder = need_folder("pairs", argument, "pairs.csv and images/")
    table, images = folder / "pairs.csv", folder / "images"
    rows = [_parse(f"{table}, line {line}", images, row) for line, row in read_csv(table, COLUMNS)]
    if not rows:
        raise InputError(f"{table}: no pairs")
    _, left, right, same = zip(*rows, strict=True)
    source = ImageFolder(images)
    hashes = image_hashes(source, {*left, *right})
    try:
        benchmark = as_benchmark("pairs", rows, hashes, ALIGNMENT)
    except InputError as error:
        raise InputError(f"{table}: {error}") from None
    return Protocol(benchmark, source, find_subject_rule(left, right, same))


def _parse(where: str, images: Path, row: dict[str, str]) -> Row:
    if row["same"] not in ("0", "1") or not FOLD.fullmatch(row["fold"]):
        found = f"fold {row['fold']!r}, same {row['same']!r}"
        raise InputError(f"{where}: {found}; expected a number, two images, 0 or 1")
    for name in (row["left"], row["right"]):
        inside = (images / name).resolve().is_relative_to(images.resolve())
        if not inside or not (images / name).is_file():
            raise InputError(f"{where}: image {name!r} is not in {images}")
    return int(row["fold"]), row["left"], row["right"], row["same"] == "1"
