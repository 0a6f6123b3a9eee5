"""A manifest's columns as plain arrays with a mask of what is not null, and back without loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Shaped

from manifests.core.errors import InputError
from manifests.stores.latents import LatentManifest, Recipe, schema


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
