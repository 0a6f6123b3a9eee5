"""A take-away: any rows of a round in one HDF5 file. manifests.takeaway.unpacking brings them back.

    manifest/COLUMN, valid/COLUMN     a column of the manifest, and where it is not null
    faces/ARRAY, teachers/NAME/ARRAY  the arrays of the stores, as they are stored
    papers/STORE/…                    texts: passport, attributes, and the ledger if whole
    contents                          what else is in the file; see manifests.takeaway.hdf5

Row i of every data set is the same face. The file depends on round, rows and teachers alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int, Shaped

from manifests.building.ledger import NAME as LEDGER
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import replacing
from manifests.stores.latents import REQUIRED, LatentManifest, Recipe, schema
from manifests.stores.metadata import array_form, array_names
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.reading import FaceStore, TeacherStore, read_rows
from manifests.stores.rounds import embedded_by, open_faces
from manifests.takeaway.hdf5 import TEACHER, Form, Part, array_part, text_part, write_file

ALL, USABLE = "all", "ok"
NUMBER = r"(-?\d{1,18})?"  # of a row
SLICE = re.compile(rf"{NUMBER}:{NUMBER}(?::(\d{{1,18}})?)?")
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


def to_numpy(column: pa.Array) -> Shaped[np.ndarray, "face ..."]:
    """A column's values, zero or empty where null; texts as fixed-length UTF-8.

    Raises InputError for a text that such a type cannot hold.
    """
    if pa.types.is_fixed_size_list(column.type):
        rows = np.zeros((len(column), column.type.list_size), np.float32)
        flat = column.flatten().to_numpy(zero_copy_only=False)  # without those that are null
        rows[np.asarray(column.is_valid())] = flat.reshape(-1, column.type.list_size)
        return rows
    if not pa.types.is_string(column.type):
        return column.fill_null(0).to_numpy(zero_copy_only=False)
    texts = column.fill_null("")
    if pc.any(pc.ends_with(texts, "\0")).as_py():
        raise InputError("a text ends with a NUL, which a fixed-length type does not keep")
    length = pc.max(pc.binary_length(texts)).as_py() or 1
    return np.array([text.encode() for text in texts.to_pylist()], f"S{length}")


def to_arrow(
    values: Shaped[np.ndarray, "face ..."], valid: Bool[np.ndarray, " face"], kind: pa.DataType
) -> pa.Array:
    """The inverse of `to_numpy`. Raises ValueError for texts that are not UTF-8."""
    if pa.types.is_fixed_size_list(kind):
        flat, null = pa.array(values.reshape(-1)), pa.array(~valid)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=null)
    if pa.types.is_string(kind):
        texts = zip(values.tolist(), valid, strict=True)
        return pa.array([text.decode() if there else None for text, there in texts], kind)
    return pa.array(values, kind, mask=~valid)


def dtype_of(kind: pa.DataType, length: int) -> np.dtype[Any]:
    """What `to_numpy` makes of a column of this type; `length`: bytes of its longest text."""
    if pa.types.is_fixed_size_list(kind):
        return np.dtype(np.float32)
    return np.dtype(f"S{length}" if pa.types.is_string(kind) else kind.to_pandas_dtype())


def manifest_of(
    recipe: Recipe, values: Mapping[str, np.ndarray], valid: Mapping[str, np.ndarray]
) -> LatentManifest:
    """A manifest of its columns' values; a column without a mask has no nulls.

    Raises InputError if they break the contract of a manifest.
    """
    fields = schema(recipe.latent_width)
    everywhere = np.ones(len(values["face_id"]), bool)
    try:
        arrays = [to_arrow(values[f.name], valid.get(f.name, everywhere), f.type) for f in fields]
        return LatentManifest(recipe, pa.Table.from_arrays(arrays, schema=fields))
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise InputError(f"its rows are no manifest ({str(error)[:200]})") from None


FACES = "faces"
LARGEST_MANIFEST = 1 << 33  # bytes: all of it is in memory
Store = FaceStore | TeacherStore


@dataclass(frozen=True)
class Summary:
    """What was exported or imported."""

    num_rows: int
    num_ok: int
    num_source_rows: int
    teachers: Sequence[str]
    left_out: Sequence[Path] = ()  # embeddings of other faces

    def __str__(self) -> str:
        rows = f"{self.num_rows} of {self.num_source_rows} rows, {self.num_ok} usable"
        return f"{rows}; teachers: {', '.join(self.teachers) or 'none'}"


def export_round(
    name: str, out: Path, *, selection: str = ALL, teachers: Sequence[str] | None = None
) -> Summary:
    """Writes rows of round `name` with the embeddings of these teachers (None: of all that
    have embedded its faces) to `out`, which is replaced whole or not touched.

    Raises InputError if a link of the round's chain is missing or does not fit.
    """
    if out.is_dir():
        raise InputError(f"{out}: a folder, expected the name of the file to write")
    manifest, faces = open_faces(name)
    if manifest is None:
        raise InputError(f"{layout.manifest(name)}: no such file; bring it, its rows go with them")
    ok = faces.ok()
    rows = select_rows(selection, manifest.face_id, ok)
    chosen, left = embedded_by(name, faces) if teachers is None else (teachers, [])
    chosen = list(dict.fromkeys(chosen))
    stores: dict[str, Store] = {FACES: faces}
    for teacher in chosen:
        stores[f"teachers/{teacher}"] = _open_teacher(name, teacher, faces)
    _write(out, manifest, rows, stores)
    return Summary(len(rows), int(ok[rows].sum()), len(manifest), chosen, left)


def _open_teacher(name: str, teacher: str, faces: FaceStore) -> TeacherStore:
    if not re.fullmatch(TEACHER, teacher):
        raise InputError(f"teacher {teacher[:80]!r}: a name has letters, digits, dots and dashes")
    return TeacherStore.open(layout.teacher(name, teacher), expect={"faces": faces.root})


def _write(
    out: Path, manifest: LatentManifest, rows: np.ndarray, stores: Mapping[str, Store]
) -> None:
    whole = len(rows) == len(manifest)
    table = manifest.table if whole else manifest.table.take(pa.array(rows))
    chosen = LatentManifest(manifest.recipe, table)
    parts = list(_manifest_parts(chosen))
    for store, opened in stores.items():
        parts += [*_array_parts(store, opened, rows), *_papers(store, opened, whole)]
    task_rows = {store: opened.passport.shard_rows for store, opened in stores.items()}
    check_size({part.name: part.form for part in parts})
    with replacing(out) as scratch:
        write_file(scratch, parts, chosen.recipe, chosen.digest, task_rows)


def check_size(forms: Mapping[str, Form]) -> None:
    """Raises InputError for a manifest that is too large: an import has all of it in memory."""
    table = [form for name, form in forms.items() if name.startswith(("manifest/", "valid/"))]
    size = sum(form.num_bytes for form in table)
    if size > LARGEST_MANIFEST:
        raise InputError(
            f"a manifest of {size} bytes, at most {LARGEST_MANIFEST} are carried; take fewer rows"
        )


def _manifest_parts(manifest: LatentManifest) -> Iterator[Part]:
    for field in manifest.table.schema:
        column = manifest.table[field.name].combine_chunks()
        yield array_part(f"manifest/{field.name}", to_numpy(column))
        if field.name not in REQUIRED:
            yield array_part(f"valid/{field.name}", np.asarray(column.is_valid()))


def _array_parts(store: str, opened: Store, rows: np.ndarray) -> Iterator[Part]:
    for name in array_names(opened.path):
        array: Any = opened.group[name]
        part = Part(f"{store}/{name}", array.dtype, (len(rows), *array.shape[1:]), [])
        blocks = _picked(opened, name, rows, part.form.block_rows)
        yield replace(part, blocks=blocks)


def _picked(opened: Store, name: str, rows: np.ndarray, block: int) -> Iterator[np.ndarray]:
    """These rows of an array, `block` at a time; as many are read at once.

    Neighbours are read in one go, rows that lie more than a chunk apart are not.
    """
    chunk = array_form(opened.path, name)[2]
    for at in range(0, len(rows), block):
        wanted = rows[at : at + block]
        cuts = (np.diff(wanted // block) > 0) | (np.diff(wanted) > chunk)
        runs = np.split(wanted, np.flatnonzero(cuts) + 1)
        yield np.concatenate([_read(opened, name, run) for run in runs])


def _read(opened: Store, name: str, run: np.ndarray) -> np.ndarray:
    first = int(run[0])
    return read_rows(opened.path, opened.group, name, slice(first, int(run[-1]) + 1))[run - first]


def _papers(store: str, opened: Store, whole: bool) -> Iterator[Part]:
    """What a store is beside its arrays. The attributes of a teacher store are the source's,
    also for a selection: mean and spread stay those that targets were made with."""
    attributes = json.dumps(dict(opened.group.attrs))  # in their order, as the store has them
    yield text_part(f"papers/{store}/attributes", attributes)
    for name, file in (("passport", PASSPORT), ("ledger", LEDGER))[: 2 if whole else 1]:
        text = (opened.path / file).read_text(encoding="utf-8")
        yield text_part(f"papers/{store}/{name}", text)
