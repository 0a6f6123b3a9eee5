"""A folder of photographs with pairs.csv (fold,left,right,same) and images/."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from eval.benchmarks.base import Protocol
from manifests.benchmarks import Benchmark
from manifests.digests import sha256_file
from manifests.errors import InputError

FOLD = re.compile("[0-9]{1,3}")
COLUMNS = ["fold", "left", "right", "same"]


def open_protocol(argument: str) -> Protocol:
    if not argument:
        raise InputError("benchmark pairs needs a folder: pairs:DIR with pairs.csv and images/")
    return Protocol(freeze(Path(argument)), Path(argument) / "images", all_pairs=False)


def freeze(folder: Path) -> Benchmark:
    """The protocol as it lies in `folder` now.

    Raises InputError naming the line for a missing image, a bad number or an empty fold.
    """
    table = folder / "pairs.csv"
    rows = [_parse(table, folder / "images", line, row) for line, row in _read(table)]
    if not rows:
        raise InputError(f"{table}: no pairs")
    folds, left, right, same = zip(*rows, strict=True)
    names = sorted({*left, *right})
    hashes = {name: sha256_file(folder / "images" / name) for name in names}
    try:
        return Benchmark("pairs", np.array(folds, np.int16), left, right, np.array(same), hashes)
    except InputError as error:
        raise InputError(f"{table}: {error}") from None


def _read(table: Path) -> list[tuple[int, dict[str, str]]]:
    if not table.is_file():
        raise InputError(f"{table}: no such file; pairs:DIR needs pairs.csv and images/")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != COLUMNS:
                found = ",".join(reader.fieldnames or [])
                raise InputError(f"{table}: columns {found}, expected {','.join(COLUMNS)}")
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: not a UTF-8 CSV file ({error})") from None


def _parse(table: Path, images: Path, line: int, row: dict[str, str]) -> tuple[int, str, str, bool]:
    where = f"{table}, line {line}"
    if None in row or row["same"] not in ("0", "1") or not FOLD.fullmatch(row["fold"] or ""):
        found = f"fold {row['fold']!r}, same {row['same']!r}"
        raise InputError(f"{where}: {found}; expected four cells: a number, two images, 0 or 1")
    for name in (row["left"], row["right"]):
        inside = (images / name).resolve().is_relative_to(images.resolve())
        if not inside or not (images / name).is_file():
            raise InputError(f"{where}: image {name!r} is not in {images}")
    return int(row["fold"]), row["left"], row["right"], row["same"] == "1"
