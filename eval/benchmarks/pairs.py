"""A folder of photographs with pairs.csv (fold,left,right,same) and images/."""

from __future__ import annotations

from pathlib import Path

from eval.benchmarks.base import (
    Protocol,
    Row,
    as_benchmark,
    find_subject_rule,
    need_folder,
    parse_fold,
    require_possible,
    warn_of_labels,
)
from manifests.core.errors import InputError
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.lists import read_csv
from manifests.photographs.protocols import ALIGNMENT

COLUMNS = ["fold", "left", "right", "same"]


def open_protocol(argument: str) -> Protocol:
    """The protocol as it lies in the folder.

    Raises InputError naming the line for a missing image, a bad number or an empty fold, and for
    pairs that cannot be.
    """
    folder = need_folder("pairs", argument, "pairs.csv and images/")
    table, images = folder / "pairs.csv", folder / "images"
    lines = {where: _parse(where, images, row) for where, row in read_csv(table, COLUMNS)}
    where, rows = [*lines], [*lines.values()]
    if not rows:
        raise InputError(f"{table}: no pairs")
    require_possible(rows, where)
    _, left, right, same = zip(*rows, strict=True)
    source = ImageFolder(images)
    hashes = image_hashes(source, {*left, *right})
    try:
        benchmark = as_benchmark("pairs", rows, hashes, ALIGNMENT)
    except InputError as error:
        raise InputError(f"{table}: {error}") from None
    rule = find_subject_rule(left, right, same)
    if rule == "image":
        warn_of_labels(rows, where)
    return Protocol(benchmark, source, rule)


def _parse(where: str, images: Path, row: dict[str, str]) -> Row:
    if row["same"] not in ("0", "1"):
        raise InputError(f"{where}: same {row['same'][:40]!r}, expected 0 or 1")
    for name in (row["left"], row["right"]):
        inside = (images / name).resolve().is_relative_to(images.resolve())
        if not inside or not (images / name).is_file():
            raise InputError(f"{where}: image {name!r} is not in {images}")
    return parse_fold(where, row["fold"]), row["left"], row["right"], row["same"] == "1"
