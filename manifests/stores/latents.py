"""LatentManifest: the recipe of a round, one row a face, before a pixel is rendered."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from manifests.core.bounds import Count, Real
from manifests.core.digests import canonical_json, table_digest
from manifests.core.errors import InputError
from manifests.core.tables import read_table, write_table

KIND = "latent-manifest-1"
LARGEST = 1e6  # of a latent, by size, and of psi: no network draws faces from beyond
ORIGINS = ("prior", "boundary", "mined", "imported")
SPACES = ("z", "w", "w+")
SIMILAR, DISSIMILAR = -1, +1
FOLDER = "folder"  # in a generator's place: an image set that existed already
REQUIRED = {"face_id": pa.int64(), "round": pa.string(), "generator": pa.string()}


@dataclass(frozen=True)
class Recipe:
    """What all rows of a manifest share: which generator is to be called, and how."""

    round: str
    generator: str
    generator_sha256: str  # of its weights
    latent_width: Count
    latent_space: str = "z"
    psi: Real = 1.0
    noise_mode: str = "const"


@dataclass(frozen=True)
class LatentManifest:
    """N latents with their lineage, sorted by face_id. N = 0 is legal.

    Columns beside `face_id` and `latent`: seed, and nullable identity_id, side (-1 similar,
    +1 dissimilar), parent_id, region_id, origin, law, step, score, source_sha256.
    """

    recipe: Recipe
    table: pa.Table

    def __post_init__(self) -> None:
        _check(self)

    def __len__(self) -> int:
        return self.table.num_rows

    @cached_property
    def face_id(self) -> Int[np.ndarray, " face"]:
        return self.table["face_id"].to_numpy()

    @cached_property
    def latents(self) -> Float[np.ndarray, "face width"]:
        """Row i of the manifest; NaN where a face was imported and has no latent."""
        column = self.table["latent"].combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        rows = np.full((len(self), self.recipe.latent_width), np.nan, np.float32)
        rows[np.asarray(column.is_valid())] = flat.reshape(-1, self.recipe.latent_width)
        return rows

    def latents_of(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row width"]:
        """Of some rows, without a copy of all of them where none is missing."""
        column = self.table["latent"].combine_chunks()
        if column.null_count:
            return self.latents[rows]
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(-1, self.recipe.latent_width)[rows]

    def column(self, name: str) -> np.ndarray:
        """A nullable column of small numbers as float64, null as NaN; face ids do not fit."""
        return self.table[name].cast(pa.float64()).to_numpy()

    @cached_property
    def digest(self) -> str:
        """Logical: over schema version, recipe and values."""
        return table_digest(self.table, {"kind": KIND, **_as_text(self.recipe)})

    def write(self, path: Path) -> None:
        write_table(path, KIND, self.table, _as_text(self.recipe))

    @classmethod
    def read(cls, path: Path, *, expect: str | None = None) -> LatentManifest:
        """Parses a manifest file; `expect` is the digest that it must have.

        Raises InputError naming the file and the first row that breaks the contract.
        """
        table, metadata, digest = read_table(path, KIND, schema(1))
        if expect is not None and digest != expect:
            raise InputError(f"{path}: manifest digest {digest}, expected {expect}")
        try:
            return cls(_from_text(metadata), table)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def require(self, *, generator: str, sha256: str, latent_width: int, space: str) -> None:
        """Raises InputError unless this manifest was made for exactly that generator."""
        have = self.recipe
        if (have.generator, have.generator_sha256) != (generator, sha256):
            raise InputError(
                f"round {have.round}: latents of generator {have.generator} "
                f"({have.generator_sha256[:12]}), but the pipeline renders with {generator} "
                f"({sha256[:12]}); sample the round again, or change params.yaml "
                "(the pool again: dvc repro -f sample@pool)"
            )
        if (have.latent_width, have.latent_space) != (latent_width, space):
            raise InputError(
                f"round {have.round}: latents are {have.latent_width}-d in {have.latent_space}, "
                f"generator {generator} takes {latent_width}-d in {space}"
            )


def schema(latent_width: int) -> pa.Schema:
    nullable = {
        "latent": pa.list_(pa.float32(), latent_width),
        "seed": pa.int64(),
        "identity_id": pa.int64(),
        "side": pa.int8(),
        "parent_id": pa.int64(),
        "region_id": pa.int32(),
        "origin": pa.string(),
        "law": pa.string(),
        "step": pa.float32(),
        "score": pa.float32(),
        "source_sha256": pa.string(),
    }
    return pa.schema([*REQUIRED.items(), *nullable.items()])


def build(
    recipe: Recipe,
    latents: Float[np.ndarray, "face width"],
    *,
    origin: str,
    law: str | np.ndarray | None = None,
    key: str = "",
    **columns: np.ndarray | pa.Array | None,
) -> LatentManifest:
    """A manifest of freshly made latents; face ids and seeds are derived, never chosen.

    `key` names everything else the latents depend on (seeds, digests of inputs), so that two
    rounds made differently have different ids. `law` is one for all or one a row; `columns`
    fills the nullable columns, a masked array's masked rows with null.
    """
    count = len(latents)
    ids = face_ids(recipe, origin, key, count)
    given: dict[str, Any] = {
        "face_id": ids,
        "round": [recipe.round] * count,
        "generator": [recipe.generator] * count,
        "latent": _fixed_lists(latents, recipe.latent_width),
        "seed": ids & 0x7FFFFFFF,
        "origin": [origin] * count,
        "law": law if isinstance(law, np.ndarray) else [law] * count,
        **columns,
    }
    layout = schema(recipe.latent_width)
    arrays = [_array(given.get(field.name), field.type, count) for field in layout]
    return LatentManifest(recipe, pa.Table.from_arrays(arrays, schema=layout))


def face_ids(recipe: Recipe, origin: str, key: str, count: int) -> Int[np.ndarray, " face"]:
    """(31-bit hash of generator identity and round recipe) << 32 | row."""
    text = canonical_json({**asdict(recipe), "origin": origin, "key": key})
    prefix = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
    return (np.int64(prefix) << np.int64(32)) | np.arange(count, dtype=np.int64)


def empty(recipe: Recipe, *, origin: str, key: str = "") -> LatentManifest:
    """A round without faces (a mining stage that stopped)."""
    return build(recipe, np.empty((0, recipe.latent_width), np.float32), origin=origin, key=key)


def _array(values: Any, kind: pa.DataType, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, kind, mask=np.ma.getmaskarray(values))
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _fixed_lists(latents: np.ndarray, width: int) -> pa.Array:
    if latents.ndim != 2 or latents.shape[1] != width:
        raise InputError(f"latents of shape {latents.shape}, expected (faces, {width})")
    flat = pa.array(np.ascontiguousarray(latents, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, width)


def _check(manifest: LatentManifest) -> None:
    table, recipe = manifest.table, manifest.recipe
    width = table.schema.field("latent").type.list_size
    if width != recipe.latent_width:
        raise InputError(f"latents are {width}-d, its metadata says {recipe.latent_width}-d")
    for name in REQUIRED:
        if table[name].null_count:
            raise InputError(f"column {name} has empty cells")
    _check_ids(manifest.face_id)
    absent = np.asarray((column := table["latent"].combine_chunks()).is_null())
    imported = np.array([origin == "imported" for origin in table["origin"].to_pylist()], bool)
    if (absent & ~imported).any():
        row = int(np.argmax(absent & ~imported))
        raise InputError(f"row {row}: no latent, but not imported; sample the round again")
    present = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    sound = (np.abs(present) <= LARGEST).all(axis=1)  # NaN is none
    if not sound.all():
        row = int(np.flatnonzero(~absent)[np.argmin(sound)])
        raise InputError(
            f"row {row}: latent is not finite, or beyond {LARGEST:g}; sample the round again"
        )
    for name, valid in (("origin", ORIGINS), ("generator", (recipe.generator,))):
        strangers = set(table[name].unique().to_pylist()) - set(valid)
        if strangers:
            raise InputError(f"{name} {sorted(map(str, strangers))[0]!r}, expected one of {valid}")
    if recipe.latent_space not in SPACES:
        raise InputError(f"latent space {recipe.latent_space!r}, expected one of {SPACES}")


def _check_ids(face_id: np.ndarray) -> None:
    wrong = face_id[1:] <= face_id[:-1]  # compared: a difference may be more than 64 bits hold
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        what = "duplicate" if face_id[row] == face_id[row - 1] else "unsorted"
        raise InputError(
            f"row {row}: {what} face_id {face_id[row]}; ids must strictly increase; sample it again"
        )


def _as_text(recipe: Recipe) -> dict[str, str]:
    return {
        name: str(value) for name, value in (asdict(recipe) | {"psi": float(recipe.psi)}).items()
    }


def _from_text(metadata: dict[str, str]) -> Recipe:
    known = {f.name: metadata[f.name] for f in fields(Recipe) if f.name in metadata}
    if len(known) != len(fields(Recipe)):
        raise InputError(
            f"its metadata lacks {sorted({f.name for f in fields(Recipe)} - set(known))}"
        )
    text: dict[str, Any] = dict(known)
    try:
        text["latent_width"] = int(known["latent_width"])
        text["psi"] = float(known["psi"])
        if not abs(text["psi"]) <= LARGEST:
            raise ValueError(f"psi {text['psi']}")
    except ValueError as error:
        raise InputError(f"its metadata holds no number ({error}); sample it again") from None
    return replace(Recipe("", "", "", 0), **text)
