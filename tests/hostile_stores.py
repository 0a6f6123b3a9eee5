"""Stores as a stranger with bad intentions would make them: sealed, every digest right.

And what has to become of them: refused in one error, in little memory and time.
"""

from __future__ import annotations

import json
import signal
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from numcodecs import Zstd

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import read_ledger, write_ledger
from manifests.check import find_faults
from manifests.core.digests import canonical_json, folder_hashes, merkle_root, sha256_text
from manifests.core.errors import InputError
from manifests.stores.metadata import METADATA
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.reading import FaceStore, TeacherStore
from train.batching.sources import open_source, stored_frame

ROWS, SIZE, WIDTH, TASK_ROWS = 130, 32, 16, 64  # of the stores that are forged
MEMORY, SECONDS = 32 << 20, 60


def put(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # it may be a hard link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrites a JSON file after `change` was made to its values in place."""
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    put(path, json.dumps(values).encode())


def reseal(store: Path, **changes: Any) -> None:
    """Ledger and passport that fit the files as they now are; `changes` are the passport's."""
    hashes = folder_hashes(store, leave_out=[PASSPORT, LEDGER])
    lines = [
        replace(line, output_sha256={name: hashes.pop(name) for name in line.output_sha256})
        for line in read_ledger(store / LEDGER).shards
    ]
    write_ledger(store / LEDGER, lines, hashes)
    hashes = folder_hashes(store, leave_out=[PASSPORT])
    sealed = {
        "merkle_root": merkle_root(hashes),
        "num_files": len(hashes),
        "metadata": {name: sha for name, sha in hashes.items() if name.endswith(METADATA)},
    }
    values = json.loads((store / PASSPORT).read_text(encoding="utf-8"))
    values = {**values, **sealed, **changes}
    del values["digest"]
    signed = {**values, "digest": sha256_text(canonical_json(values))}
    put(store / PASSPORT, (canonical_json(signed) + "\n").encode())


def declare(store: Path, array: str, **values: Any) -> None:
    """An array's zarr.json with other values; `rows`, `shard` and `chunk` are numbers of rows,
    the keys of the sharding codec are changed there."""

    def change(metadata: dict[str, Any]) -> None:
        sharding = metadata["codecs"][0]["configuration"]
        counts = {
            "rows": metadata["shape"],
            "shard": metadata["chunk_grid"]["configuration"]["chunk_shape"],
            "chunk": sharding["chunk_shape"],
        }
        for key, value in values.items():
            if key in counts:
                counts[key][0] = value
            else:
                (sharding if key in sharding else metadata)[key] = value

    change_json(store / array / METADATA, change)


def declare_rows(store: Path, rows: int, **values: int) -> None:
    """As many rows, said by every array and by the passport."""
    for path in sorted(store.glob(f"*/{METADATA}")):
        declare(store, path.parent.name, rows=rows, **values)
    reseal(store, num_rows=rows)


def set_attributes(store: Path, **values: Any) -> None:
    change_json(store / METADATA, lambda group: group["attributes"].update(values))
    reseal(store)


def set_frame(store: Path, **values: Any) -> None:
    change_json(store / METADATA, lambda group: group["attributes"]["frame"].update(values))
    reseal(store)


def write_shard(path: Path, chunk: bytes, place: tuple[int, int] | None = None) -> None:
    """A shard of one chunk, with an index and checksums that are right; the index may name
    another `place` (offset, bytes) than that of the chunk."""
    stored = chunk + _crc32c(chunk)
    index = np.array(place or (0, len(stored)), "<u8").tobytes()
    put(path, stored + index + _crc32c(index))


def _crc32c(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")


def bomb(num_bytes: int) -> bytes:
    """A few kilobytes that inflate to `num_bytes` zeros."""
    return bytes(Zstd(level=1).encode(bytes(num_bytes)))


def nested(depth: int) -> Mapping[str, Any]:
    """A mapping in a mapping in a mapping …"""
    value: Mapping[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def read_everything(stores: Path) -> None:
    """Both stores as training and its report read them."""
    faces = FaceStore.open(stores / "faces.zarr")
    teacher = TeacherStore.open(stores / "teachers/toy.zarr")
    assert len(faces.images(0, len(faces))) == len(faces.column("quality")) == ROWS
    assert faces.task_rows == TASK_ROWS
    assert teacher.norms().shape == (ROWS, 2)
    assert teacher.centre().shape == (teacher.width,) == (WIDTH,)
    assert teacher.spread() > 0
    assert stored_frame([open_source(faces, {"toy": teacher})]).size == SIZE


def check_refused(stores: Path, store: str = "faces.zarr", *, read: bool = True) -> None:
    """Refused by readers (unless only what they do not `read` is bad) and by verify; neither
    writes anything."""
    before = folder_hashes(stores.parent)
    with within_bounds():
        if read:
            with pytest.raises(InputError):
                read_everything(stores)
        else:
            read_everything(stores)
        assert find_faults(stores / store)
    assert folder_hashes(stores.parent) == before


@contextmanager
def within_bounds() -> Iterator[None]:
    """Little memory, little time."""
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
        signal.alarm(0)


def _late(*_: object) -> None:
    raise TimeoutError("a reader hangs")
