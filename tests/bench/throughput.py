"""How fast image shards are written and read, and where the time goes. Part of `store`."""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import google_crc32c
import numpy as np
from numcodecs import Zstd

from manifests.building import writing as building
from manifests.building.writing import Task, write_images
from manifests.stores import reading as stores
from manifests.stores.reading import CHUNK_ROWS, TASK_ROWS, FaceStore
from tests.bench.teacher import REPEATS, rate, spread

READERS = (1, 2, 4, 8)  # manifests.stores.reading.READERS, for comparison
SCATTERED = 128  # single rows


def write_rates(faces: FaceStore) -> dict[str, Any]:
    """Full shards, one process: encoded, written, fsynced, renamed, hashed."""
    images = faces.images(0, TASK_ROWS)
    shards = count()

    def write() -> None:
        task = Task(next(shards), 0, len(images))
        write_images(Path("written"), task, images)

    parts, unhashed = _parts(write)
    whole = parts.pop("whole")
    middle = {name: float(np.median(seconds)) for name, seconds in parts.items()}
    share = {name: round(seconds / np.median(whole), 3) for name, seconds in middle.items()}
    return {
        "faces_per_second": spread([len(images) / seconds for seconds in whole]),
        "mb_per_second": spread([images.nbytes / 1e6 / seconds for seconds in whole]),
        "share": share,
        "hashing_share": share["hash"],
        "hashing_share_by_difference": round(1 - np.median(unhashed) / np.median(whole), 3),
        "hash_seconds_per_1000_faces": round(middle["hash"] * 1000 / len(images), 5),
    }


def _parts(write: Callable[[], None]) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of each part of a shard and of the whole; and of the whole without hashing.
    With and without take turns, so that a slower moment of the machine is in both."""
    with_hash: dict[str, list[float]] = defaultdict(list)
    without: dict[str, list[float]] = defaultdict(list)
    constant = SimpleNamespace(hexdigest=lambda: "0" * 64)
    write()  # a warm-up
    for _ in range(2 * REPEATS):
        _clocked(write, with_hash)
        with patch.object(hashlib, "sha256", lambda _: constant):
            _clocked(write, without)
    return with_hash, without["whole"]


def _clocked(write: Callable[[], None], seconds: dict[str, list[float]]) -> None:
    parts = {
        "encode": (building, "_encode"),
        "copy_to_file": (Path, "write_bytes"),
        "fsync": (os, "fsync"),
        "hash": (hashlib, "sha256"),
    }
    with ExitStack() as stack:
        for name, (owner, function) in parts.items():
            timed = _timed(getattr(owner, function), seconds[name])
            stack.enter_context(patch.object(owner, function, timed))
        _timed(write, seconds["whole"])()


def _timed(work: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - start)

    return timed


def read_rates(faces: FaceStore) -> dict[str, Any]:
    """MB of decoded pixels a second, one process, beside what there is to compare."""
    rows = min(len(faces), 8 * TASK_ROWS)
    blocks, shards = _read_by(faces, rows, CHUNK_ROWS), _read_by(faces, rows, TASK_ROWS)
    plain = _memory_map(faces, rows)
    scattered = np.random.default_rng(1).integers(0, rows, SCATTERED).tolist()
    return {
        "block_read_gb_per_s": round(blocks["median"] / 1000, 3),
        "blocks_mb_per_second": blocks,
        "shards_mb_per_second": shards,
        "memory_map_blocks_mb_per_second": plain,
        "ratio_vs_memory_map": round(blocks["median"] / plain["median"], 3),
        "chunks_decoded_alone_mb_per_second": _decode(faces),
        "shards_mb_per_second_by_readers": {str(n): _with_readers(faces, rows, n) for n in READERS},
        "scattered_rows_per_second": spread(
            rate(lambda: [faces.images(row, row + 1) for row in scattered], len(scattered))
        ),
    }


def _read_by(faces: FaceStore, rows: int, step: int) -> dict[str, float]:
    def read() -> None:
        for at in range(0, rows, step):
            faces.images(at, min(at + step, rows))

    return per_second(read, _megabytes(faces, rows))


def _with_readers(faces: FaceStore, rows: int, readers: int) -> dict[str, float]:
    with patch.object(stores, "READERS", readers):
        return _read_by(faces, rows, TASK_ROWS)


def _megabytes(faces: FaceStore, rows: int) -> float:
    return rows * faces.images(0, 1).nbytes / 1e6


def _memory_map(faces: FaceStore, rows: int) -> dict[str, float]:
    """The same pixels in a plain file, copied block by block."""
    np.save("pixels.npy", faces.images(0, rows))
    pixels = np.load("pixels.npy", mmap_mode="r")
    starts = range(0, rows, CHUNK_ROWS)

    def read() -> None:
        for at in starts:
            np.array(pixels[at : at + CHUNK_ROWS])

    return per_second(read, _megabytes(faces, rows))


def _decode(faces: FaceStore) -> dict[str, float]:
    """The ceiling of one thread: checksum and decompression, from memory, nothing else."""
    images = faces.images(0, TASK_ROWS)
    codec = Zstd(level=building.COMPRESSOR["configuration"]["level"])
    chunks = [
        codec.encode(images[at : at + CHUNK_ROWS]) for at in range(0, len(images), CHUNK_ROWS)
    ]

    def decode() -> None:
        for chunk in chunks:
            google_crc32c.value(chunk)
            codec.decode(chunk)

    return per_second(decode, images.nbytes / 1e6)


def per_second(work: Callable[[], object], amount: float) -> dict[str, float]:
    """An amount of anything, done by `work`."""
    return spread([amount * each for each in rate(work, 1)])
