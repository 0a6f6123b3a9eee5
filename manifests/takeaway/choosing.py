"""Choosing faces of a round to take away, and reading them: any rows, some at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.stores.latents import LatentManifest
from manifests.stores.metadata import array_form
from manifests.stores.reading import FaceStore, TeacherStore, read_rows
from manifests.stores.rounds import embedded_by, open_faces
from manifests.takeaway.hdf5 import TEACHER

ALL, USABLE = "all", "ok"
NUMBER = r"(-?\d{1,18})?"  # of a row
SLICE = re.compile(rf"{NUMBER}:{NUMBER}(?::(\d{{1,18}})?)?")
HELP = (
    "which rows, in row order: all · ok: the usable ones · a slice as in Python "
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
    if not os.path.isfile(selection):  # also for what is too long for a name
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
            if column.null_count:
                raise ValueError(f"{column.null_count} empty cells")
            return column.cast(pa.int64()).to_numpy()
        lines = path.read_text(encoding="utf-8-sig").split()
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


@dataclass(frozen=True)
class Chosen:
    """Rows of an open round, strictly increasing, and whose embeddings go with them."""

    name: str
    manifest: LatentManifest
    faces: FaceStore
    teachers: Mapping[str, TeacherStore]
    rows: Int[np.ndarray, " row"]
    left_out: Sequence[Path] = ()  # embeddings of other faces

    def __len__(self) -> int:
        return len(self.rows)


def choose(name: str, selection: str, teachers: Sequence[str] | None = None) -> Chosen:
    """Rows of round `name` with the embeddings of these teachers (None: of all that have
    embedded its faces).

    Raises InputError if a link of the round's chain is missing or does not fit.
    """
    manifest, faces = open_faces(name)
    if manifest is None:
        raise InputError(
            f"{layout.manifest(name)}: no such file; bring it from where the faces came from, its "
            "rows go with them"
        )
    rows = select_rows(selection, manifest.face_id, faces.ok())
    found, left = embedded_by(name, faces) if teachers is None else (teachers, [])
    stores = {each: _open_teacher(name, each, faces) for each in dict.fromkeys(found)}
    return Chosen(name, manifest, faces, stores, rows, left)


def _open_teacher(name: str, teacher: str, faces: FaceStore) -> TeacherStore:
    if not re.fullmatch(TEACHER, teacher):
        raise InputError(f"teacher {teacher[:80]!r}: a name has letters, digits, dots and dashes")
    return TeacherStore.open(layout.teacher(name, teacher), expect={"faces": faces.root})


def picked(
    opened: FaceStore | TeacherStore, name: str, rows: np.ndarray, block: int
) -> Iterator[np.ndarray]:
    """These rows of an array, `block` at a time; as many are read at once.

    Neighbours are read in one go, rows that lie more than a chunk apart are not.
    """
    chunk = array_form(opened.path, name)[2]
    for at in range(0, len(rows), block):
        wanted = rows[at : at + block]
        cuts = (np.diff(wanted // block) > 0) | (np.diff(wanted) > chunk)
        runs = np.split(wanted, np.flatnonzero(cuts) + 1)
        yield np.concatenate([_read(opened, name, run) for run in runs])


def _read(opened: FaceStore | TeacherStore, name: str, run: np.ndarray) -> np.ndarray:
    first = int(run[0])
    return read_rows(opened.path, opened.group, name, slice(first, int(run[-1]) + 1))[run - first]
