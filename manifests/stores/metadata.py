"""A store's folder and zarr.json files, checked before zarr reads a byte: it may be a stranger's.

Nothing here trusts a declared number: every array must have the rows of the passport, every
shard of it must be a file, and what a file can inflate to is bounded.
A chunk of a few kilobytes can inflate to as many gigabytes, and the decoder believes what the
chunk itself says; so that is compared with the array's form, before a byte is decoded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from zarr.codecs import ZstdCodec
from zarr.registry import register_codec

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import parse_json
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport

NOT_WRITTEN = np.iinfo(np.uint64).max  # a chunk's place in its shard's index, if it has none
INDEX_ENTRY, CHECKSUM = 16, 4  # bytes, of Zarr v3's sharding_indexed and of crc32c
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LONGEST_HEADER = 18  # bytes, of a zstd frame (RFC 8878, 3.1.1.1)


class BoundedZstd(ZstdCodec):
    """Zstandard that refuses a chunk which does not inflate to exactly what its array declares."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check_inflation(chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check_inflation(chunk_bytes, chunk_spec)  # later versions of zarr may come this way
        return super()._decode_sync(chunk_bytes, chunk_spec)


def _check_inflation(chunk_bytes: Any, chunk_spec: Any) -> None:
    wanted = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
    found = inflated_bytes(chunk_bytes[:LONGEST_HEADER].to_bytes())
    if found != wanted:
        raise ValueError(f"a chunk that inflates to {found} bytes, its array says {wanted}")


register_codec("zstd", BoundedZstd)
CODEC = {"codecs.zstd": f"{BoundedZstd.__module__}.{BoundedZstd.__qualname__}"}  # for zarr.config


def index_bytes(num_chunks: int) -> int:
    """Of the index at the end of a shard."""
    return INDEX_ENTRY * num_chunks + CHECKSUM


def largest_shard(num_chunks: int, chunk_bytes: int) -> int:
    """Bytes of a shard in which no chunk could be compressed (ZSTD_COMPRESSBOUND, and a header):
    zarr reads a shard whole."""
    bound = chunk_bytes + chunk_bytes // 256 + 64 + LONGEST_HEADER + CHECKSUM
    return num_chunks * bound + index_bytes(num_chunks)


def faulty_chunks(file: Path, num_chunks: int, num_used: int, chunk_bytes: int) -> str:
    """What is wrong with the first `num_used` chunks of a shard; "" if nothing is."""
    size = file.stat().st_size - index_bytes(num_chunks)
    if size < 0:
        return "is too short for its index"
    with file.open("rb") as opened:
        opened.seek(size)
        index = np.frombuffer(opened.read(INDEX_ENTRY * num_chunks), "<u8").reshape(-1, 2)
        for offset, length in index[:num_used].tolist():
            if offset == NOT_WRITTEN:
                return "has chunks that were never written"
            if offset + length > size:
                return "has chunks that lie outside of it"
            opened.seek(offset)
            if inflated_bytes(opened.read(min(length, LONGEST_HEADER))) != chunk_bytes:
                return f"has chunks that do not inflate to {chunk_bytes} bytes"
    return ""


def inflated_bytes(frame: bytes) -> int | None:
    """What a zstd frame's header says that it inflates to; None if it does not say."""
    if len(frame) < 6 or not frame.startswith(ZSTD_MAGIC):
        return None
    descriptor = frame[4]
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    at = 6 - single_segment + (0, 1, 2, 4)[descriptor & 3]  # after window and dictionary
    if not width or len(frame) < at + width:
        return None
    return int.from_bytes(frame[at : at + width], "little") + (256 if width == 2 else 0)


METADATA = "zarr.json"
LARGEST_METADATA = 1 << 18  # bytes of a zarr.json: the mean of 4096 numbers takes 80 KB
LARGEST_CHUNK = 1 << 28  # bytes decoded: 64 pictures of 1024 px are 201 MB
LARGEST_COLUMN_SHARD = 1 << 30  # bytes decoded: columns are read whole
LARGEST_IMAGE_SHARD = 1 << 32  # bytes decoded: a task is embedded whole
LARGEST_SIDE = 4096  # of a row's own shape: pixels, or the width of an embedding
MOST_CHUNKS = 1 << 14  # of one shard: their index is read whole
PLAIN_COLUMN = 1 << 28  # bytes decoded; a larger column must not
INFLATION = 1 << 10  # be more than this many times its files (a flag a row: 28 to 840 times)
DEEPEST = 8  # folders: images/c/0/0/0/0 is 6
CODECS, INDEX_CODECS = ("bytes", "zstd", "crc32c"), ("bytes", "crc32c")
DTYPES = {"bool", "uint8", "float16", "float32"}
MEMBERS = {  # of an array's zarr.json
    "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding",
    "fill_value", "codecs", "attributes", "storage_transformers", "dimension_names",
}  # fmt: skip
REQUIRED: Mapping[str, Mapping[str, tuple[str, int]]] = {  # data type and dimensions
    "faces": {"images": ("uint8", 4), "ok": ("bool", 1), "reason": ("uint8", 1)},
    "teacher": {"embeddings": ("float16", 3), "norms": ("float32", 2)},
}

NAMED_SINCE = 3  # version of the passport: before, arrays do not name their dimensions
DIMENSIONS = {
    "images": ("face", "y", "x", "colour"),
    "landmarks": ("face", "point", "xy"),
    "embeddings": ("face", "view", "coordinate"),
    "norms": ("face", "view"),
}


def dimensions(name: str, count: int) -> tuple[str, ...]:
    """Names of an array's `count` dimensions, as xarray wants them: the first is the row."""
    known = DIMENSIONS.get(name, ("face",))
    others = (f"{name}_{at}" for at in range(1, count))
    return known if len(known) == count else ("face", *others)


def check_folder(store: Path, passport: Passport) -> None:
    """Raises InputError unless the folder holds the arrays that a passport of its kind promises,
    with every shard there, within bounds, and with no link that leads elsewhere."""
    found = set(files_of(store))
    found.discard(PASSPORT)
    if len(found) < passport.num_files:
        missing = passport.num_files - len(found)
        raise _broken(store, f"{missing} of its {passport.num_files} files are missing")
    _check_hashes(store, passport, found)
    group = _read_json(store / METADATA)
    plain = group.get("node_type") == "group" and type(group.get("attributes")) is dict
    if not plain or group.get("consolidated_metadata"):  # arrays in place of the checked ones
        raise _broken(store, f"{METADATA} is not a group's, or has more to say than ours")
    for name, form in REQUIRED.get(passport.kind, {}).items():
        declared = _read_json(store / name / METADATA)
        if (declared.get("data_type"), len(declared.get("shape", ()))) != form:
            raise _broken(store, f"{name} is not {form[0]} in {form[1]} dimensions")
    _check_task_rows(store, passport)
    for name in array_names(store):
        _check_shards(store, name, passport.num_rows, found)


def _check_task_rows(store: Path, passport: Passport) -> None:
    """As many rows as the passport says are worked on at a time, and held in memory."""
    if passport.kind not in REQUIRED or passport.schema_version < 2:
        return
    faces = passport.kind == "faces"
    rows = array_form(store, "images")[1] if faces else array_form(store, "embeddings")[2]
    if rows != passport.shard_rows:
        raise _broken(store, f"shards of {rows} rows, its passport says {passport.shard_rows}")


def _check_shards(store: Path, name: str, num_rows: int, found: set[str]) -> None:
    """Every shard is there and has an index at least (what has none reads as zeros, zarr before
    3.2), and no more than its chunks can fill. A column, which is read whole, inflates to no more
    than its files can hold."""
    _, shard_rows, chunk_rows = array_form(store, name)
    num_chunks, size = shard_rows // chunk_rows, 0
    largest = largest_shard(num_chunks, chunk_rows * row_bytes(store, name))
    for shard in expected_shards(store, name, num_rows):
        if shard not in found:
            raise _broken(store, f"{shard} is missing")
        size += (bytes_here := (store / shard).stat().st_size)
        if bytes_here <= index_bytes(num_chunks):
            raise _broken(store, f"{shard} is cut short, it has {bytes_here} bytes")
        if bytes_here > largest:
            raise _broken(store, f"{shard} has {bytes_here} bytes, its chunks fill {largest}")
    decoded = num_rows * row_bytes(store, name)
    if name != "images" and decoded > max(PLAIN_COLUMN, INFLATION * size):
        raise _broken(store, f"{name} is {decoded} bytes in files of {size}")


def array_names(store: Path) -> list[str]:
    return sorted(path.parent.name for path in store.glob(f"*/{METADATA}"))


def files_of(store: Path) -> Iterator[str]:
    """Relative paths of the files of a store; whatever is no plain file or folder is refused."""
    folders = [""]
    while folders:
        here = folders.pop()
        if here.count("/") > DEEPEST:
            raise _broken(store, f"its folders are nested deeper than {DEEPEST}")
        with os.scandir(store / here) as entries:
            for entry in entries:
                name = f"{here}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield name
                else:
                    _refuse(store, name)


def _refuse(store: Path, name: str) -> NoReturn:
    if not os.path.islink(store / name):
        raise _broken(store, f"{name!r} is no plain file")
    raise InputError(
        f"{store}: {name!r} is a symbolic link, which may lead out of the store; bring "
        "a copy (with DVC: cache.type reflink, hardlink or copy)"
    )


def _check_hashes(store: Path, passport: Passport, found: set[str]) -> None:
    """The few small files that say how all others are to be read."""
    for name, wanted in passport.metadata.items():
        if name not in found or sha256_file(store / name) != wanted:
            raise _broken(store, f"{name} is missing or not the one that its passport names")
    strangers = {name for name in found if name.endswith(METADATA)} - set(passport.metadata)
    if passport.schema_version >= 2 and strangers:
        raise _broken(store, f"{sorted(strangers)[0]} is not named in its passport")


def expected_shards(store: Path, name: str, num_rows: int) -> Iterator[str]:
    """Relative paths of all shards of an array, whose declared form is checked."""
    shape, shard, _ = array_form(store, name)
    if shape[0] != num_rows:
        raise _broken(store, f"{name} declares {shape[0]} rows, its passport {num_rows}")
    tail = "/0" * (len(shape) - 1)
    return (f"{name}/c/{at}{tail}" for at in range(-(-num_rows // shard)))


def row_bytes(store: Path, name: str) -> int:
    """Of an array whose form is checked, decoded."""
    declared = _read_json(store / name / METADATA)
    return math.prod(declared["shape"][1:]) * np.dtype(declared["data_type"]).itemsize


def array_form(store: Path, name: str) -> tuple[tuple[int, ...], int, int]:
    """(shape, rows of a shard, rows of a chunk) of an array, if it is one that we write."""
    declared = _read_json(store / name / METADATA)
    try:
        shape = _counts(declared["shape"])
        shard = _counts(declared["chunk_grid"]["configuration"]["chunk_shape"])
        (codec,) = declared["codecs"]
        chunk = _counts(codec["configuration"]["chunk_shape"])
        _check_codecs(declared, codec)
        _check_names(name, declared)
        check_bounds(declared["data_type"], shape, shard, chunk, whole=name != "images")
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise _broken(store, f"{name}/{METADATA} is not one that we write ({error})") from None
    return shape, shard[0], chunk[0]


def _counts(values: Any) -> tuple[int, ...]:
    if not values or any(type(value) is not int or value < 0 for value in values):
        raise ValueError(f"{values!r} is no shape")
    return tuple(values)


def _check_codecs(declared: Mapping[str, Any], codec: Mapping[str, Any]) -> None:
    settings = codec["configuration"]
    inner, index = settings["codecs"], settings["index_codecs"]
    names = [tuple(each["name"] for each in codecs) for codecs in (inner, index)]
    if codec["name"] != "sharding_indexed" or names != [CODECS, INDEX_CODECS]:
        raise ValueError(f"codecs {codec['name']}, {names}")
    orders = [codecs[0].get("configuration", {}).get("endian") for codecs in (inner, index)]
    if not set(orders) <= {"little", None} or settings.get("index_location", "end") != "end":
        raise ValueError("bytes in another order")
    key = declared["chunk_key_encoding"]
    if (key["name"], key.get("configuration", {}).get("separator", "/")) != ("default", "/"):
        raise ValueError(f"chunk keys {key}")
    if declared["node_type"] != "array" or declared.get("storage_transformers"):
        raise ValueError("not a plain array")
    more = set(declared) - MEMBERS
    if more or declared.get("attributes"):
        raise ValueError(f"it has more to say than an array of ours: {sorted(more)}")


def _check_names(name: str, declared: Mapping[str, Any]) -> None:
    ours, found = dimensions(name, len(declared["shape"])), declared.get("dimension_names")
    if found not in (None, list(ours)):
        raise ValueError(f"dimensions {str(found)[:80]}, ours are {', '.join(ours)}")


def check_bounds(
    dtype: str, shape: tuple[int, ...], shard: tuple[int, ...], chunk: tuple[int, ...], whole: bool
) -> None:
    if dtype not in DTYPES:
        raise ValueError(f"data type {dtype!r}")
    if not shape[1:] == shard[1:] == chunk[1:] or any(not 0 < s <= LARGEST_SIDE for s in shape[1:]):
        raise ValueError(f"shape {shape}, shards {shard}, chunks {chunk}")
    if not 0 < chunk[0] <= shard[0] <= chunk[0] * MOST_CHUNKS or shard[0] % chunk[0]:
        raise ValueError(f"shards of {shard[0]} rows in chunks of {chunk[0]}")
    row = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    largest = LARGEST_COLUMN_SHARD if whole else LARGEST_IMAGE_SHARD
    if row * chunk[0] > LARGEST_CHUNK or row * shard[0] > largest:
        raise ValueError(f"chunks of {row * chunk[0]} bytes in shards of {row * shard[0]}")


def _read_json(path: Path) -> dict[str, Any]:
    store = path.parent
    if not path.is_file() or path.stat().st_size > LARGEST_METADATA:
        raise _broken(store, f"{path.name} is missing or larger than {LARGEST_METADATA} bytes")
    try:
        values = parse_json(path.read_bytes())
    except ValueError as error:
        raise _broken(store, f"{path.name} is not JSON ({error})") from None
    if type(values) is not dict or values.get("zarr_format") != 3:
        raise _broken(store, f"{path.name} is not of Zarr version 3")
    return values


def _broken(store: Path, what: str) -> InputError:
    return InputError(f"{store}: {what}; copy or build the store again")
