"""Blocks: faces on their way out, some at a time, with all that a round knows of each.

    row                            of the face in its stores
    face_id … source_sha256        the columns of the manifest
    marks_TEACHER                  why a face is suspect, such as `low_quality near_duplicate`
    ok, reason, quality, landmarks of the face store; landmarks are x0, y0, x1, … in pixels
    embedding_VIEW_TEACHER         float16 as stored, NaN where the face failed
    norm_VIEW_TEACHER              of the raw embedding

VIEW is plain or flip (the mirrored picture). A kind may add columns of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt8

from manifests.cards.statements import type_name
from manifests.core import layout
from manifests.core.digests import table_digest
from manifests.core.errors import InputError
from manifests.records.marks import Marks
from manifests.stores.metadata import array_names
from manifests.stores.reading import REASONS, FaceStore
from manifests.takeaway.choosing import Chosen, picked

PART_ROWS = 4096  # of one file: 50 MB at 96 pixels, and what an interruption may cost
BLOCK_ROWS = 256  # in memory at a time
IMAGES = "images"
VIEWS = ("plain", "flip")
EMBEDDING, NORM, MARKS = "embedding", "norm", "marks"


@dataclass(frozen=True)
class Part:
    """A run of the chosen faces that is written, read back and kept as one."""

    number: int
    of: int  # how many there are
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Block:
    """Row i of the table is of image i."""

    images: UInt8[np.ndarray, "face size size 3"]
    table: pa.Table

    @property
    def digest(self) -> str:
        """Over every pixel and every value."""
        pixels = hashlib.sha256(np.ascontiguousarray(self.images).data).hexdigest()
        return table_digest(self.table, {IMAGES: pixels})


def plan_parts(count: int) -> list[Part]:
    starts = range(0, count, PART_ROWS)
    return [
        Part(at, len(starts), start, min(start + PART_ROWS, count))
        for at, start in enumerate(starts)
    ]


def known(chosen: Chosen) -> pa.Table:
    """What is known of the chosen faces without reading an array: rows, manifest and marks.

    Raises InputError if marks are of other faces than are here.
    """
    table = chosen.manifest.table.replace_schema_metadata(None)
    if len(chosen) < table.num_rows:
        table = table.take(pa.array(chosen.rows))
    table = table.add_column(0, "row", pa.array(chosen.rows))
    for name in ("step", "score"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), _one_nan(table[name]))
    for teacher, marks in marks_of(chosen).items():
        texts = _texts(marks, len(chosen.manifest))[chosen.rows]
        table = table.append_column(f"{MARKS}_{teacher}", pa.array(texts, pa.string()))
    return table


def marks_of(chosen: Chosen) -> dict[str, Marks]:
    """The marks that there are, by the teacher that they were drawn by."""
    found = {}
    for teacher, store in chosen.teachers.items():
        path = layout.marks(chosen.name, teacher)
        if path.exists():
            links = {"faces_root": chosen.faces.root, "teacher_root": store.root}
            found[teacher] = Marks.read(path, **links, num_rows=len(chosen.faces))[0]
    return found


def _texts(marks: Marks, num_rows: int) -> np.ndarray:
    reasons: dict[int, set[str]] = {}
    for mark in marks.marks:
        reasons.setdefault(mark.row, set()).add(mark.reason)
    texts = np.full(num_rows, "", object)
    for row, found in reasons.items():
        texts[row] = " ".join(sorted(found))
    return texts


def _one_nan(column: Any) -> Any:
    """With one bit pattern for what is not a number: text formats know no other."""
    return pc.if_else(pc.is_nan(column), pa.scalar(np.nan, column.type), column)


def blocks(chosen: Chosen, table: pa.Table, part: Part) -> Iterator[Block]:
    """The faces of a part; `table`: what is `known` of all the chosen ones, a row each."""
    rows = chosen.rows[part.start : part.stop]
    here = table.slice(part.start, len(part))
    for name, column in _stored(chosen, rows):
        here = here.append_column(name, column)
    for at, images in enumerate(picked(chosen.faces, IMAGES, rows, BLOCK_ROWS)):
        yield Block(images, here.slice(at * BLOCK_ROWS, len(images)))


def _stored(chosen: Chosen, rows: np.ndarray) -> Iterator[tuple[str, pa.Array]]:
    """The columns that stores hold, of some rows."""
    yield from _face_columns(chosen.faces, rows)
    for teacher, store in chosen.teachers.items():
        (embeddings,) = picked(store, "embeddings", rows, len(rows))
        (norms,) = picked(store, "norms", rows, len(rows))
        for at, view in enumerate(views(embeddings.shape[1])):
            yield f"{EMBEDDING}_{view}_{teacher}", to_column(embeddings[:, at])
            yield f"{NORM}_{view}_{teacher}", to_column(norms[:, at])


def views(count: int) -> list[str]:
    return [*VIEWS, *(f"view{at}" for at in range(len(VIEWS), count))][:count]


def _face_columns(faces: FaceStore, rows: np.ndarray) -> Iterator[tuple[str, pa.Array]]:
    for name in sorted(set(array_names(faces.path)) - {IMAGES}):
        (values,) = picked(faces, name, rows, len(rows))
        if name == "reason":
            yield name, _reasons(faces, values)
        else:
            yield name, to_column(values)


def _reasons(faces: FaceStore, codes: np.ndarray) -> pa.Array:
    strangers = set(np.unique(codes).tolist()) - set(REASONS)
    if strangers:
        raise InputError(f"{faces.path}: reason {min(strangers)}, expected one of {REASONS}")
    return pa.array([REASONS[code] for code in codes.tolist()], pa.string())


def to_column(values: np.ndarray) -> pa.Array:
    """A row of numbers as a list of fixed length, in C order; what is NaN is so in one way."""
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    if flat.dtype.kind == "f" and flat.dtype.itemsize > 2:
        flat = np.where(np.isnan(flat), flat.dtype.type(np.nan), flat)
    array = pa.array(flat.reshape(-1))
    return array if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(array, flat.shape[1])


def column_of(table: pa.Table, name: str) -> np.ndarray:
    """The inverse of `to_column`: (face,) or (face, number)."""
    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def meanings(schema: pa.Schema, said: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(name, type, meaning) of each column, for people."""
    for field in schema:
        prefix, _, rest = field.name.partition("_")
        view, _, teacher = rest.partition("_")
        words = {
            EMBEDDING: f"Embedding of the {view} view by teacher {teacher}, as stored.",
            NORM: f"Norm of that teacher's raw embedding of the {view} view.",
            MARKS: f"Why the face is suspect, by teacher {rest}; empty: it is not.",
        }
        yield field.name, type_name(field), said.get(field.name) or words.get(prefix, "")
