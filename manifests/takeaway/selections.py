"""Which rows of a round are meant: all, the usable ones, a slice, or a list of faces."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from manifests.core.errors import InputError

ALL, USABLE = "all", "ok"
SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(\d*))?")
HELP = (
    "which rows, written in row order: all (default) · ok: the usable ones · a slice as in Python "
    "(0:1000, -500:, ::10) · FILE: a text file with a face_id a line, or a Parquet file with a "
    "column face_id; a face that is named twice is taken once"
)


def select_rows(
    selection: str, face_id: Int[np.ndarray, " face"], ok: Bool[np.ndarray, " face"]
) -> Int[np.ndarray, " row"]:
    """Strictly increasing row numbers; there may be none.

    Raises InputError if the selection cannot be understood, or names a face that is not there.
    """
    if selection == ALL:
        return np.arange(len(face_id))
    if selection == USABLE:
        return np.flatnonzero(ok)
    found = SLICE.fullmatch(selection)
    if found:
        start, stop, step = (int(part) if part else None for part in found.groups())
        if step == 0:
            raise InputError(f"rows {selection!r}: its step is 0, expected at least 1")
        return np.arange(len(face_id))[start:stop:step]
    if not Path(selection).is_file():
        raise InputError(
            f"rows {selection[:200]!r}: no such file, and not all, ok or a slice as 0:1000; "
            "see --help"
        )
    return _rows_of(Path(selection), _read_ids(Path(selection)), face_id)


def _read_ids(path: Path) -> Int[np.ndarray, " face"]:
    """The face ids of a Parquet or text file, in any order."""
    try:
        if path.suffix == ".parquet":
            column = pq.read_table(path, columns=["face_id"])["face_id"]
            return column.cast(pa.int64()).to_numpy()
        lines = path.read_text(encoding="utf-8").split()
        return np.array([int(line) for line in lines], np.int64)
    except (ValueError, KeyError, OverflowError, OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: no list of faces ({str(error)[:200]}); expected a whole number a line, or a "
            "Parquet file (.parquet) with a column face_id"
        ) from None


def _rows_of(
    path: Path, wanted: Int[np.ndarray, " wanted"], face_id: Int[np.ndarray, " face"]
) -> Int[np.ndarray, " row"]:
    """Rows of the wanted faces among the sorted ids of a manifest."""
    wanted = np.unique(wanted)
    rows = np.searchsorted(face_id, wanted)
    known = rows < len(face_id)
    known[known] = face_id[rows[known]] == wanted[known]
    if not known.all():
        raise InputError(
            f"{path}: {int((~known).sum())} of its {len(wanted)} faces are not in this round, the "
            f"first is {wanted[~known][0]}; take the list of another round out"
        )
    return rows
