"""What is known of each face of a round: the columns by which its page groups and sorts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from manifests.core import layout
from manifests.core.errors import Faults, InputError
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.records.gaps import GapTable
from manifests.records.marks import Mark, Marks
from manifests.stores.latents import LatentManifest
from manifests.stores.rounds import RoundFiles
from pipeline.arrays.neighbours import unit_rows

NONE = "none"  # what a face is called by that has no value
GROUPED = ("identity_id", "side", "region_id", "origin", "law")  # columns of the manifest
COUNTED = ("step", "score")


@dataclass(frozen=True)
class Kind:
    """A property that sorts faces into groups."""

    name: str
    labels: tuple[str, ...]
    codes: Int[np.ndarray, " face"]  # places in `labels`


@dataclass(frozen=True)
class Amount:
    """A property that is a number; NaN where it is not known."""

    name: str
    values: Float[np.ndarray, " face"]


@dataclass(frozen=True)
class Shelf:
    """The faces of a page, all usable, in the order of their round."""

    files: RoundFiles
    rows: Int[np.ndarray, " face"]  # of the round
    vectors: Float[np.ndarray, "face width"]  # the plain view's, centred, of unit length
    kinds: tuple[Kind, ...]
    amounts: tuple[Amount, ...]
    marks: Mapping[int, Sequence[Mark]]  # by row
    left_out: tuple[str, ...]  # what lies there and is of other stores

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def people(self) -> str | None:
        """What must be said of the pictures: that they are of people, or may be; None where a
        generator is known to have made all, or is stated to have."""
        if self.files.real_faces is not None:
            return f"photographs of real people: {self.files.real_faces}"
        if self.files.num_imported and self.files.synthetic_source is None:
            return "of unknown origin: they may be photographs of real people"
        return None


def shelf_of(files: RoundFiles, chosen: Int[np.ndarray, " row"]) -> Shelf:
    """The usable faces among the chosen rows, with all that lies under data/ about them.

    Raises InputError where there are none.
    """
    rows = chosen[files.faces.ok()[chosen]]
    if not len(rows):
        raise InputError(f"round {files.name}: no usable face among the rows chosen")
    vectors = files.teacher.embeddings()[rows, 0].astype(np.float32) - files.teacher.centre()
    faults = Faults("left out")
    marks, marked = _marks(files, rows, faults)
    kinds = [*_regions(files, rows, faults), *_kinds(files.manifest, rows), *marked]
    found = [*_amounts(files, rows), *_gaps(files, rows, faults), *_measured(files, rows, faults)]
    amounts = [own for own in found if not np.isnan(own.values).all()]  # none has a scale
    return Shelf(
        files, rows, unit_rows(vectors), tuple(kinds), tuple(amounts), marks, tuple(faults.first)
    )


def grouped(name: str, values: Sequence[object]) -> Kind | None:
    """A kind by its values, the most frequent first, None last; None where all have none."""
    texts = np.array([NONE if value is None else str(value) for value in values], object)
    labels, codes, sizes = np.unique(texts, return_inverse=True, return_counts=True)
    if list(labels) == [NONE]:
        return None
    order = np.lexsort((np.arange(len(labels)), -sizes, labels == NONE))
    place = np.argsort(order)
    return Kind(name, tuple(str(labels[at]) for at in order), place[codes].astype(np.int64))


def _kinds(manifest: LatentManifest | None, rows: np.ndarray) -> Iterator[Kind]:
    if manifest is None:
        return
    for name in GROUPED:
        kind = grouped(name.removesuffix("_id"), manifest.table[name].take(rows).to_pylist())
        if kind is not None:
            yield kind


def _amounts(files: RoundFiles, rows: np.ndarray) -> Iterator[Amount]:
    yield Amount("quality", files.faces.column("quality")[rows])
    for name in COUNTED if files.manifest else ():
        values = files.require_manifest().column(name)[rows]
        yield Amount("parent's gap" if name == "score" else name, values)


def _marks(
    files: RoundFiles, rows: np.ndarray, faults: Faults
) -> tuple[dict[int, list[Mark]], list[Kind]]:
    found: dict[int, list[Mark]] = {}
    path = layout.marks(files.name, files.teacher.path.stem)
    if not path.exists():
        return found, []
    with faults:
        read, _ = Marks.read(
            path,
            faces_root=files.faces.root,
            teacher_root=files.teacher.root,
            num_rows=len(files.faces),
        )
        for mark in read.marks:
            found.setdefault(mark.row, []).append(mark)
    reasons = [", ".join(m.reason for m in found.get(row, [])) or None for row in rows.tolist()]
    kind = grouped("mark", reasons)
    return found, [kind] if kind else []


def _regions(files: RoundFiles, rows: np.ndarray, faults: Faults) -> Iterator[Kind]:
    """The regions that mining looked at, of the faces that it measured them on."""
    for path in sorted(layout.regions("any").parent.glob("*.parquet")):
        table = _gap_table(path, files, faults)
        if table is None or files.manifest is None:
            continue
        region = _spread(table, table.region, files.manifest.face_id[rows])
        known = [None if np.isnan(value) else int(value) for value in region.tolist()]
        kind = grouped(f"region of {path.stem}", known)
        if kind is not None:
            yield kind


def _gaps(files: RoundFiles, rows: np.ndarray, faults: Faults) -> Iterator[Amount]:
    """By every student that was measured on this round, the mean of both views."""
    named = {f"gap of {path.parent.name}": path for path in _of_runs(files.name)}
    if layout.children_gaps(files.name).exists():
        named["gap of whom it was mined for"] = layout.children_gaps(files.name)
    for name, path in named.items():
        table = _gap_table(path, files, faults)
        if table is not None and files.manifest is not None:
            gap = (table.gap.astype(np.float64) + table.flip_gap) / 2
            yield Amount(name, _spread(table, gap, files.manifest.face_id[rows]))


def _of_runs(round: str) -> list[Path]:
    folders = sorted(layout.gap_table("any", round).parents[1].glob("*/"))
    tables = [folder / f"{round}.parquet" for folder in folders]
    taken = (layout.CHILDREN, layout.REGIONS)
    return [path for path in tables if path.exists() and path.parent.name not in taken]


def _measured(files: RoundFiles, rows: np.ndarray, faults: Faults) -> Iterator[Amount]:
    path = layout.attributes(files.name, MEASURED)
    if path.exists() and files.manifest is not None:
        with faults:
            table = AttributeTable.read(path)
            table.require_faces(files.manifest.face_id, files.faces.root)
            for name in table.names:
                yield Amount(name, table.column(name)[rows])


def _gap_table(path: Path, files: RoundFiles, faults: Faults) -> GapTable | None:
    """A table of these embeddings; None, which `faults` notes, for one of others. Those of
    regions are of one round, whose embeddings other rounds do not have: nothing is noted."""
    with faults:
        table = GapTable.read(path)
        if table.teacher_root == files.teacher.root:
            return table
        if path.parent != layout.regions("any").parent:
            raise InputError(f"{path}: of other embeddings than are here; run facestill gap again")
    return None


def _spread(
    table: GapTable, values: np.ndarray, face_id: Int[np.ndarray, " face"]
) -> Float[np.ndarray, " face"]:
    """A table's values by the faces asked for, NaN for those that it does not have."""
    order = np.argsort(table.face_id)
    place = np.searchsorted(table.face_id, face_id, sorter=order)
    place = order[np.minimum(place, len(order) - 1)] if len(order) else place
    known = len(order) > 0 and table.face_id[place] == face_id
    return np.where(known, values[place] if len(order) else np.nan, np.nan).astype(np.float64)
