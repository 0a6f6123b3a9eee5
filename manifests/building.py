"""Writing stores: whole shards first, small columns at sealing, the passport last.

One task writes one image shard and one scratch piece; a single writer assembles the pieces.
Two writers never share a shard (zarr-python#3514 loses data silently when they do).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from manifests.digests import sha256_file
from manifests.stores import CHUNK_ROWS, COLUMN_SHARD_ROWS, TASK_ROWS

COMPRESSOR: Any = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
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


def plan_tasks(num_rows: int) -> list[Task]:
    """The shards of a store: a function of the number of rows alone, never of the workers."""
    starts = range(0, num_rows, TASK_ROWS)
    return [Task(i, at, min(at + TASK_ROWS, num_rows)) for i, at in enumerate(starts)]


def create_store(store: Path) -> None:
    """A store without arrays; whatever lay there goes."""
    zarr.open_group(store, mode="w", zarr_format=3)


def create_images(store: Path, num_rows: int, size: int) -> None:
    """The image array of a store; call once, before any task."""
    _create(store, Column("images", "uint8", (size, size, 3)), num_rows, CHUNK_ROWS, TASK_ROWS)


def write_images(store: Path, task: Task, images: np.ndarray) -> str:
    """Writes a task's image shard; returns its path relative to the store."""
    with zarr.config.set({"array.write_empty_chunks": True, "async.concurrency": 1}):
        array = zarr.open_array(store / "images", mode="r+", zarr_format=3)
        shard = f"images/c/{task.shard}/0/0/0"
        (store / shard).unlink(missing_ok=True)  # a torn one of an earlier crash is not read
        array[task.start : task.stop] = images
    return shard


def piece_path(work: Path, task: Task) -> Path:
    return work / "pieces" / f"{task.shard:05d}.npz"


def write_piece(work: Path, task: Task, columns: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Writes a task's small columns to the scratch folder; returns (relative path, sha256)."""
    path = piece_path(work, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp.npz")
    np.savez(scratch, allow_pickle=False, **dict(columns))
    scratch.replace(path)
    return path.relative_to(work).as_posix(), sha256_file(path)


def read_pieces(work: Path, tasks: Sequence[Task], name: str) -> Iterator[np.ndarray]:
    """One column of every piece, in shard order."""
    for task in tasks:
        with np.load(piece_path(work, task), allow_pickle=False) as piece:
            yield piece[name]


def assemble(store: Path, work: Path, tasks: Sequence[Task], columns: Sequence[Column]) -> None:
    """Copies the small columns from the pieces into the store, shard by whole shard."""
    num_rows = tasks[-1].stop if tasks else 0
    group_size = COLUMN_SHARD_ROWS // TASK_ROWS
    for column in columns:
        _create(store, column, num_rows, TASK_ROWS, COLUMN_SHARD_ROWS)
        for at in range(0, len(tasks), group_size):
            group = tasks[at : at + group_size]
            rows = np.concatenate(list(read_pieces(work, group, column.name)))
            with zarr.config.set({"array.write_empty_chunks": True, "async.concurrency": 1}):
                array = zarr.open_array(store / column.name, mode="r+", zarr_format=3)
                array[group[0].start : group[-1].stop] = rows


def set_attributes(store: Path, attributes: Mapping[str, Any]) -> None:
    zarr.open_group(store, mode="r+", zarr_format=3).attrs.update(dict(attributes))


def _create(store: Path, column: Column, num_rows: int, chunk: int, shard: int) -> None:
    # A NaN fill for floats: a hole must never read as a plausible value.
    fill: Any = float("nan") if np.dtype(column.dtype).kind == "f" else 0
    zarr.create_array(
        store=store,
        name=column.name,
        shape=(num_rows, *column.shape),
        chunks=(chunk, *column.shape),
        shards=(shard, *column.shape),
        dtype=column.dtype,
        fill_value=fill,
        compressors=[COMPRESSOR, CHECKSUM],
        zarr_format=3,
        overwrite=True,  # a crash may have left a part of it
    )
