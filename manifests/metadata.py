"""A store's folder and zarr.json files, checked before zarr reads a byte: it may be a stranger's.

Nothing here trusts a declared number: every array must have the rows of the passport, every
shard of it must be a file, and what a file can inflate to is bounded.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from manifests.digests import sha256_file
from manifests.errors import InputError
from manifests.passport import NAME as PASSPORT
from manifests.passport import Passport

METADATA = "zarr.json"
LARGEST_METADATA = 1 << 20  # bytes of a zarr.json
LARGEST_CHUNK = 1 << 28  # bytes decoded: 64 pictures of 1024 px are 201 MB
LARGEST_COLUMN_SHARD = 1 << 30  # bytes decoded: columns are read whole
LARGEST_SIDE = 4096  # of a row's own shape: pixels, or the width of an embedding
MOST_CHUNKS = 1 << 14  # of one shard: their index is read whole
CODECS = {"bytes", "zstd", "crc32c"}
DTYPES = {"bool", "uint8", "float16", "float32"}
REQUIRED: Mapping[str, Mapping[str, tuple[str, int]]] = {  # data type and dimensions
    "faces": {"images": ("uint8", 4), "ok": ("bool", 1), "reason": ("uint8", 1)},
    "teacher": {"embeddings": ("float16", 3), "norms": ("float32", 2)},
}


def check_folder(store: Path, passport: Passport) -> None:
    """Raises InputError unless the folder holds the arrays that a passport of its kind promises,
    with every shard there, within bounds, and with no link that leads elsewhere."""
    found = set(files_of(store))
    found.discard(PASSPORT)
    if len(found) < passport.num_files:
        missing = passport.num_files - len(found)
        raise _broken(store, f"{missing} of its {passport.num_files} files are missing")
    _check_hashes(store, passport, found)
    _read_json(store / METADATA)
    for name, form in REQUIRED.get(passport.kind, {}).items():
        declared = _read_json(store / name / METADATA)
        if (declared.get("data_type"), len(declared.get("shape", ()))) != form:
            raise _broken(store, f"{name} is not {form[0]} in {form[1]} dimensions")
    for name in array_names(store):
        for shard in expected_shards(store, name, passport.num_rows):
            if shard not in found:  # it would read as zeros (zarr before 3.2)
                raise _broken(store, f"{shard} is missing")


def array_names(store: Path) -> list[str]:
    return sorted(path.parent.name for path in store.glob(f"*/{METADATA}"))


def files_of(store: Path) -> Iterator[str]:
    """Relative paths of the files of a store; a symbolic link in it is refused."""
    for folder, folders, files in os.walk(store):
        for name in [*folders, *files]:
            if os.path.islink(os.path.join(folder, name)):
                raise InputError(
                    f"{store}: {name} is a symbolic link, which may lead out of the store; bring "
                    "a copy (with DVC: cache.type reflink, hardlink or copy)"
                )
        here = Path(folder).relative_to(store)
        yield from ((here / name).as_posix() for name in files)


def _check_hashes(store: Path, passport: Passport, found: set[str]) -> None:
    """The few small files that say how all others are to be read."""
    for name, wanted in passport.metadata.items():
        if name not in found or sha256_file(store / name) != wanted:
            raise _broken(store, f"{name} is missing or not the one that its passport names")
    strangers = {name for name in found if name.endswith(METADATA)} - set(passport.metadata)
    if passport.metadata and strangers:
        raise _broken(store, f"{sorted(strangers)[0]} is not named in its passport")


def expected_shards(store: Path, name: str, num_rows: int) -> list[str]:
    """Relative paths of all shards of an array, whose declared form is checked."""
    shape, shard, _ = array_form(store, name)
    if shape[0] != num_rows:
        raise _broken(store, f"{name} declares {shape[0]} rows, its passport {num_rows}")
    tail = "/0" * (len(shape) - 1)
    return [f"{name}/c/{at}{tail}" for at in range(math.ceil(num_rows / shard))]


def array_form(store: Path, name: str) -> tuple[tuple[int, ...], int, int]:
    """(shape, rows of a shard, rows of a chunk) of an array, if it is one that we write."""
    declared = _read_json(store / name / METADATA)
    try:
        shape = _counts(declared["shape"])
        shard = _counts(declared["chunk_grid"]["configuration"]["chunk_shape"])
        (codec,) = declared["codecs"]
        chunk = _counts(codec["configuration"]["chunk_shape"])
        _check_codecs(declared, codec)
        _check_bounds(declared["data_type"], shape, shard, chunk, whole=name != "images")
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise _broken(store, f"{name}/{METADATA} is not one that we write ({error})") from None
    return shape, shard[0], chunk[0]


def _counts(values: Any) -> tuple[int, ...]:
    if not values or any(type(value) is not int or value < 0 for value in values):
        raise ValueError(f"{values!r} is no shape")
    return tuple(values)


def _check_codecs(declared: Mapping[str, Any], codec: Mapping[str, Any]) -> None:
    settings = codec["configuration"]
    names = [inner["name"] for inner in [*settings["codecs"], *settings["index_codecs"]]]
    if codec["name"] != "sharding_indexed" or not set(names) <= CODECS:
        raise ValueError(f"codecs {codec['name']}, {', '.join(names)}")
    if settings["codecs"][-1]["name"] != "crc32c" or names[-1] != "crc32c":
        raise ValueError("chunks or index without a checksum")
    key = declared["chunk_key_encoding"]
    if (key["name"], key.get("configuration", {}).get("separator", "/")) != ("default", "/"):
        raise ValueError(f"chunk keys {key}")
    if declared["node_type"] != "array" or declared["storage_transformers"]:
        raise ValueError("not a plain array")


def _check_bounds(
    dtype: str, shape: tuple[int, ...], shard: tuple[int, ...], chunk: tuple[int, ...], whole: bool
) -> None:
    if dtype not in DTYPES:
        raise ValueError(f"data type {dtype!r}")
    if not shape[1:] == shard[1:] == chunk[1:] or any(s > LARGEST_SIDE for s in shape[1:]):
        raise ValueError(f"shape {shape}, shards {shard}, chunks {chunk}")
    if not 0 < chunk[0] <= shard[0] <= chunk[0] * MOST_CHUNKS or shard[0] % chunk[0]:
        raise ValueError(f"shards of {shard[0]} rows in chunks of {chunk[0]}")
    row = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    if row * chunk[0] > LARGEST_CHUNK or (whole and row * shard[0] > LARGEST_COLUMN_SHARD):
        raise ValueError(f"chunks of {row * chunk[0]} bytes in shards of {row * shard[0]}")


def _read_json(path: Path) -> dict[str, Any]:
    store = path.parent
    if not path.is_file() or path.stat().st_size > LARGEST_METADATA:
        raise _broken(store, f"{path.name} is missing or larger than {LARGEST_METADATA} bytes")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _broken(store, f"{path.name} is not JSON ({error})") from None
    if type(values) is not dict or values.get("zarr_format") != 3:
        raise _broken(store, f"{path.name} is not of Zarr version 3")
    return values


def _broken(store: Path, what: str) -> InputError:
    return InputError(f"{store}: {what}; copy or build the store again")
