"""Writing stores: whole shards first, small columns at sealing, the passport last.

One task writes one image shard and one scratch piece; a single writer assembles the pieces.
Zarr encodes in memory and files are put in place whole, so that no reader and no second writer
ever meets half a shard (zarr-python#3514 loses data silently when two write into one).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import LedgerLine, write_ledger
from manifests.core.digests import merkle_root, sha256_file
from manifests.core.files import put
from manifests.stores.metadata import METADATA, NAMED_SINCE, dimensions, files_of
from manifests.stores.passport import SCHEMA_VERSION, Passport, Provenance
from manifests.stores.reading import CHUNK_ROWS, COLUMN_SHARD_TASKS, TASK_ROWS

# Level -1 leaves literals as they are: 4 % larger than level 1, inflated in a third of the time.
IMAGES = "images"  # the column of a face store that tasks write in shards of their own
COMPRESSOR: Any = {"name": "zstd", "configuration": {"level": -1, "checksum": False}}
CHECKSUM: Any = {"name": "crc32c"}


@dataclass(frozen=True)
class Column:
    """An array of a store: `shape` is that of one row."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Task:
    """Rows start..stop of a manifest: the unit of work, of retry and of hashing."""

    shard: int
    start: int
    stop: int


def plan_tasks(num_rows: int, task_rows: int = TASK_ROWS) -> list[Task]:
    """The shards of a store: a function of the number of rows alone, never of the workers."""
    starts = range(0, num_rows, task_rows)
    return [Task(i, at, min(at + task_rows, num_rows)) for i, at in enumerate(starts)]


def write_images(
    store: Path, task: Task, images: np.ndarray, task_rows: int = TASK_ROWS
) -> tuple[str, str]:
    """Writes a task's image shard; returns its path relative to the store, and its sha256."""
    path = shard_path(IMAGES, task.shard, images.ndim)
    return path, put(store / path, _encode(images, CHUNK_ROWS, task_rows))


def shard_path(column: str, shard: int, ndim: int) -> str:
    return "/".join([column, "c", str(shard), *["0"] * (ndim - 1)])


def piece_path(work: Path, task: Task) -> Path:
    return work / "pieces" / f"{task.shard:05d}.npz"


def write_piece(work: Path, task: Task, columns: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Writes a task's small columns to the scratch folder; returns (relative path, sha256)."""
    path = piece_path(work, task)
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **dict(columns))
    return path.relative_to(work).as_posix(), put(path, packed.getvalue())


def read_pieces(work: Path, tasks: Sequence[Task], name: str) -> Iterator[np.ndarray]:
    """One column of every piece, in shard order."""
    for task in tasks:
        with np.load(piece_path(work, task), allow_pickle=False) as piece:
            yield piece[name]


def assemble(
    store: Path,
    work: Path,
    tasks: Sequence[Task],
    columns: Sequence[Column],
    task_rows: int,
    version: int = SCHEMA_VERSION,
) -> dict[str, str]:
    """Copies the small columns from the pieces into a store of this version, shard by whole
    shard; returns {relative path: sha256} of all that it wrote."""
    num_rows = tasks[-1].stop if tasks else 0
    written: dict[str, str] = {}
    for column in columns:
        written |= write_metadata(store, column, num_rows, task_rows, images=False, version=version)
        for shard, at in enumerate(range(0, len(tasks), COLUMN_SHARD_TASKS)):
            group = tasks[at : at + COLUMN_SHARD_TASKS]
            rows = np.concatenate(list(read_pieces(work, group, column.name)))
            path = shard_path(column.name, shard, rows.ndim)
            data = _encode(rows, task_rows, task_rows * COLUMN_SHARD_TASKS)
            written[path] = put(store / path, data)
    return written


def write_metadata(
    store: Path,
    column: Column,
    num_rows: int,
    task_rows: int = TASK_ROWS,
    *,
    images: bool,
    version: int = SCHEMA_VERSION,
) -> dict[str, str]:
    """Writes an array's zarr.json, as stores of this version have it; returns its
    {relative path: sha256}."""
    inner, outer = (
        (CHUNK_ROWS, task_rows) if images else (task_rows, task_rows * COLUMN_SHARD_TASKS)
    )
    shape = (num_rows, *column.shape)
    names = dimensions(column.name, len(shape)) if version >= NAMED_SINCE else None
    memory = _array(column.dtype, shape, inner, outer, names)[1]
    path = f"{column.name}/{METADATA}"
    return {path: put(store / path, _bytes_of(memory, METADATA))}


def write_attributes(store: Path, attributes: Mapping[str, Any]) -> dict[str, str]:
    """Writes the group's zarr.json; returns its {relative path: sha256}."""
    memory = MemoryStore()
    zarr.create_group(memory, zarr_format=3, attributes=dict(attributes))
    return {METADATA: put(store / METADATA, _bytes_of(memory, METADATA))}


def seal_store(
    store: Path, lines: Sequence[LedgerLine], others: Mapping[str, str], provenance: Provenance
) -> Passport:
    """Writes ledger and passport (with the root over all files); returns the latter.

    `lines` name files by their path in the store; `others`: {relative path: sha256} of those
    that are no task's. A file that neither names is removed: a killed process left it.
    """
    write_ledger(store / LEDGER, lines, others)
    hashes = {LEDGER: sha256_file(store / LEDGER), **others}
    for line in lines:
        hashes |= line.output_sha256
    for name in set(files_of(store)) - set(hashes):
        (store / name).unlink()
    failures: Counter[str] = Counter()
    for line in lines:
        failures.update(line.failures)
    sealed = Passport(
        **{own.name: getattr(provenance, own.name) for own in fields(Provenance)},
        num_rows=sum(line.num_rows for line in lines),
        num_ok=sum(line.num_ok for line in lines),
        failures=dict(failures),
        merkle_root=merkle_root(hashes),
        num_files=len(hashes),
        metadata={name: sha for name, sha in others.items() if name.endswith(METADATA)},
    )
    sealed.write(store)
    return sealed


def _encode(rows: np.ndarray, inner: int, outer: int) -> bytes:
    """One shard of `outer` rows, in chunks of `inner`, that holds these rows at its start."""
    with zarr.config.set({"array.write_empty_chunks": True, "async.concurrency": 1}):
        array, memory = _array(str(rows.dtype), rows.shape, inner, outer)
        array[:] = rows
    return _bytes_of(memory, shard_path("", 0, rows.ndim).lstrip("/"))


def _array(
    dtype: str,
    shape: tuple[int, ...],
    inner: int,
    outer: int,
    names: tuple[str, ...] | None = None,
) -> tuple[Any, MemoryStore]:
    memory = MemoryStore()
    # A NaN fill for floats: a hole must never read as a plausible value.
    fill: Any = float("nan") if np.dtype(dtype).kind == "f" else 0
    array = zarr.create_array(
        store=memory,
        shape=shape,
        chunks=(inner, *shape[1:]),
        shards=(outer, *shape[1:]),
        dtype=dtype,
        fill_value=fill,
        compressors=[COMPRESSOR, CHECKSUM],
        dimension_names=names,
        zarr_format=3,
    )
    return array, memory


def _bytes_of(memory: MemoryStore, key: str) -> bytes:
    return memory._store_dict[key].to_bytes()
