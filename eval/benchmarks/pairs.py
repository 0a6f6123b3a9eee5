"""A folder of photographs with pairs.csv (fold,left,right,same, perhaps group) and images/.

A pair's group is that of both its people; it is empty where they are of two groups.
"""

from __future__ import annotations

import numpy as np

from eval.benchmarks.base import (
    Protocol,
    Row,
    as_benchmark,
    find_subject_rule,
    named,
    need_folder,
    parse_fold,
    require_one_group,
    require_possible,
    warn_of_labels,
)
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.lists import read_csv
from manifests.photographs.protocols import check_folds
from manifests.photographs.scores import GROUP

COLUMNS = ["fold", "left", "right", "same"]


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """The protocol as it lies in the folder.

    Raises InputError naming the line for a missing image, a bad number or an empty fold, and for
    pairs that cannot be: a person in two groups among them.
    """
    folder = need_folder("pairs", argument, "pairs.csv and images/")
    table, images = folder / "pairs.csv", folder / "images"
    source, faults = ImageFolder(images), Faults(str(table))
    lines: dict[str, Row] = {}
    groups: list[str] = []
    for where, row in read_csv(table, COLUMNS, [*COLUMNS, GROUP.name], faults=faults):
        with faults:
            lines[where] = _parse(where, source, row)
            groups += [row[GROUP.name]] if GROUP.name in row else []
    faults.raise_any()
    places, rows = [*lines], [*lines.values()]
    if not rows:
        raise InputError(f"{table}: no pairs")
    require_possible(rows, places)
    fold, left, right, same = zip(*rows, strict=True)
    try:
        check_folds("pairs", np.array(fold), np.array(same))  # before images are read
    except InputError as error:
        raise InputError(f"{table}: {error}") from None
    rule = find_subject_rule(left, right, same)
    if groups:
        require_one_group(rows, groups, places, rule)
    hashes = image_hashes(source, {*left, *right}, square=square)
    benchmark = as_benchmark("pairs", rows, hashes, groups or None)
    if rule == "image":
        warn_of_labels(rows, places)
    return Protocol(benchmark, source, rule)


def _parse(where: str, source: ImageFolder, row: dict[str, str]) -> Row:
    if row["same"] not in ("0", "1"):
        raise InputError(f"{where}: same {row['same'][:40]!r}, expected 0 or 1")
    left, right = (named(where, source, row[side]) for side in ("left", "right"))
    return parse_fold(where, row["fold"]), left, right, row["same"] == "1"
