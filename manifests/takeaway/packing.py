"""A take-away: any rows of a round in one HDF5 file. manifests.takeaway.unpacking brings them back.

    manifest/COLUMN, valid/COLUMN     a column of the manifest, and where it is not null
    faces/ARRAY, teachers/NAME/ARRAY  the arrays of the stores, as they are stored
    papers/STORE/…                    texts: passport, attributes, and the ledger if whole
    contents                          what else is in the file; see manifests.takeaway.hdf5

Row i of every data set is the same face. The file depends on round, rows and teachers alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Shaped

from manifests.building.ledger import NAME as LEDGER
from manifests.core.errors import InputError
from manifests.core.files import replacing
from manifests.stores.latents import REQUIRED, LatentManifest, Recipe, schema
from manifests.stores.metadata import array_names
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.takeaway.choosing import ALL, Chosen, choose, picked
from manifests.takeaway.hdf5 import Form, Part, array_part, text_part, write_file


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
    kept_roots: bool = True  # the stores are the source's, to the byte

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
    chosen = choose(name, selection, teachers)
    _write(out, chosen)
    num_ok = int(chosen.faces.ok()[chosen.rows].sum())
    return Summary(len(chosen), num_ok, len(chosen.manifest), [*chosen.teachers], chosen.left_out)


def _write(out: Path, chosen: Chosen) -> None:
    manifest, rows = chosen.manifest, chosen.rows
    whole = len(rows) == len(manifest)
    table = manifest.table if whole else manifest.table.take(pa.array(rows))
    taken = LatentManifest(manifest.recipe, table)
    stores: dict[str, Store] = {FACES: chosen.faces}
    stores |= {f"teachers/{teacher}": store for teacher, store in chosen.teachers.items()}
    parts = list(_manifest_parts(taken))
    for store, opened in stores.items():
        parts += [*_array_parts(store, opened, rows), *_papers(store, opened, whole)]
    task_rows = {store: opened.passport.shard_rows for store, opened in stores.items()}
    check_size({part.name: part.form for part in parts})
    with replacing(out) as scratch:
        write_file(scratch, parts, taken.recipe, taken.digest, task_rows)


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
        blocks = picked(opened, name, rows, part.form.block_rows)
        yield replace(part, blocks=blocks)


def _papers(store: str, opened: Store, whole: bool) -> Iterator[Part]:
    """What a store is beside its arrays. The attributes of a teacher store are the source's,
    also for a selection: mean and spread stay those that targets were made with."""
    attributes = json.dumps(dict(opened.group.attrs))  # in their order, as the store has them
    yield text_part(f"papers/{store}/attributes", attributes)
    for name, file in (("passport", PASSPORT), ("ledger", LEDGER))[: 2 if whole else 1]:
        text = (opened.path / file).read_text(encoding="utf-8")
        yield text_part(f"papers/{store}/{name}", text)
