"""As in test_hostile: what a stranger may say of the arrays, and what he may put into them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import Zstd

from manifests.check import find_faults
from manifests.core.errors import InputError
from manifests.stores.metadata import LONGEST_HEADER, METADATA, inflated_bytes
from manifests.stores.metadata import ZSTD_MAGIC as MAGIC
from manifests.stores.reading import FaceStore, TeacherStore
from tests.hostile_stores import (
    ROWS,
    SIZE,
    TASK_ROWS,
    WIDTH,
    bomb,
    change_json,
    check_refused,
    declare,
    declare_rows,
    nested,
    put,
    read_everything,
    reseal,
    set_attributes,
    set_frame,
    within_bounds,
    write_shard,
)
from tests.toys import toy_teacher

TEACHER = "teachers/toy.zarr"
LAST = "images/c/2/0/0/0"  # a shard of one chunk, of which two rows are there
ZSTD, CRC = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}, {"name": "crc32c"}
BIG, LITTLE = ({"name": "bytes", "configuration": {"endian": end}} for end in ("big", "little"))

# Values of an array's zarr.json; `codecs` are those of the chunks.
ARRAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown codec": ("images", {"codecs": [LITTLE, {"name": "numcodecs.pickle"}, CRC]}),
    "codec of others": ("images", {"codecs": [LITTLE, {"name": "gzip"}, CRC]}),
    "inflated twice": ("images", {"codecs": [LITTLE, ZSTD, ZSTD, CRC]}),
    "no checksum": ("images", {"codecs": [LITTLE, ZSTD]}),
    "index without checksum": ("images", {"index_codecs": [LITTLE]}),
    "index that inflates": ("images", {"index_codecs": [LITTLE, ZSTD, CRC]}),
    "index at the start": ("images", {"index_location": "start"}),
    "bytes the other way round": ("quality", {"codecs": [BIG, ZSTD, CRC]}),
    "codecs are a text": ("quality", {"codecs": "zstd"}),
    **{
        f"data type {kind}": ("quality", {"data_type": kind})
        for kind in ("object", "string", "int64", "float32x", None, 5)
    },
    "data type is a mapping": ("quality", {"data_type": {"name": "numpy.datetime64"}}),
    "storage transformers": ("ok", {"storage_transformers": [{"name": "x"}]}),
    "a key of its own": ("images", {"code": {"name": "x", "must_understand": False}}),
    "fill value is a text": ("images", {"fill_value": "abc"}),
    "fill value is a list": ("images", {"fill_value": [1] * 1000}),
    "attributes": ("images", {"attributes": dict(nested(20))}),
    "other names of dimensions": ("ok", {"dimension_names": ["x"]}),
    "names of more dimensions": ("ok", {"dimension_names": ["face", "view"]}),
    "the name of a dimension": ("ok", {"dimension_names": "face"}),
    "another node": ("ok", {"node_type": "group"}),
    "another version": ("ok", {"zarr_format": 2}),
    "another key encoding": ("ok", {"chunk_key_encoding": {"name": "v2"}}),
    "key encoding is a list": ("ok", {"chunk_key_encoding": []}),
    "chunks of no row": ("ok", {"chunk": 0}),
    "chunks of minus one row": ("ok", {"chunk": -1}),
    "chunks of a text": ("ok", {"chunk": "64"}),
    "chunks that do not fit shards": ("ok", {"chunk": 63}),
    "chunks too large to decode": ("images", {"chunk": 1 << 20, "shard": 1 << 20}),
    "shards of too many chunks": ("images", {"chunk": 1, "shard": 1 << 20}),
    "shards too large for a task": ("images", {"chunk": 1 << 10, "shard": 1 << 23}),
    "columns too large to read": ("ok", {"chunk": 1 << 25, "shard": 1 << 32}),
    "a row too many": ("ok", {"rows": ROWS + 1}),
    "no shape": ("ok", {"shape": []}),
    "a side without end": ("images", {"shape": [ROWS, 1 << 20, 1 << 20, 3]}),
    "more dimensions than arrays have": ("quality", {"shape": [ROWS] + [1] * 1000}),
}


@pytest.mark.parametrize(("array", "values"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_of_another_form_is_refused(
    stores: Path, array: str, values: dict[str, Any]
) -> None:
    declare(stores / "faces.zarr", array, **values)
    reseal(stores / "faces.zarr")
    check_refused(stores)


def test_rows_without_files_are_refused_however_many(stores: Path) -> None:
    declare_rows(stores / "faces.zarr", 10**15)
    check_refused(stores)


def test_a_column_cannot_be_larger_than_its_files_can_hold(stores: Path) -> None:
    store, rows = stores / "faces.zarr", 1 << 31
    declare(store, "images", chunk=1 << 16, shard=1 << 20)
    for name in ("ok", "reason", "quality"):
        declare(store, name, chunk=1 << 24, shard=1 << 28)
        for shard in range(8):
            put(store / name / f"c/{shard}", bytes(1 << 10))
    for shard in range(rows >> 20):
        put(store / f"images/c/{shard}/0/0/0", bytes(1 << 10))
    declare_rows(store, rows)
    check_refused(stores)


@pytest.mark.parametrize("name", ["images/c/0/0/0/0", "ok/c/0"])
def test_a_shard_that_its_chunks_cannot_fill_is_refused(stores: Path, name: str) -> None:
    path = stores / "faces.zarr" / name
    put(path, path.read_bytes())  # it may be a hard link
    os.truncate(path, 1 << 40)  # a hole, no bytes on disk: zarr would read all of it
    with within_bounds(), pytest.raises(InputError, match="bytes, its chunks fill"):
        FaceStore.open(stores / "faces.zarr")


def no_width(metadata: dict[str, Any]) -> None:
    sharding = metadata["codecs"][0]["configuration"]["chunk_shape"]
    for shape in (metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]):
        shape[2] = sharding[2] = 0


def test_embeddings_without_width_are_refused(stores: Path) -> None:
    change_json(stores / TEACHER / "embeddings" / METADATA, no_width)
    set_attributes(stores / TEACHER, mean=[])
    check_refused(stores, TEACHER)


GROUPS: dict[str, dict[str, Any]] = {
    "an array": {"node_type": "array"},
    "no attributes": {"attributes": None},
    "attributes are a list": {"attributes": []},
    "attributes nested deeply": {"attributes": nested(60)},
}


@pytest.mark.parametrize("values", GROUPS.values(), ids=GROUPS)
def test_a_group_of_another_form_is_refused(stores: Path, values: dict[str, Any]) -> None:
    change_json(stores / "faces.zarr" / METADATA, lambda group: group.update(values))
    reseal(stores / "faces.zarr")
    check_refused(stores)


def test_arrays_hidden_in_the_group_do_not_take_the_place_of_the_checked_ones(
    stores: Path,
) -> None:
    store = stores / "faces.zarr"
    hidden = {
        path.parent.name: json.loads(path.read_text()) for path in store.glob(f"*/{METADATA}")
    }
    hidden["ok"]["shape"] = hidden["ok"]["chunk_grid"]["configuration"]["chunk_shape"] = [10**9]
    hidden["ok"]["codecs"] = [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}]
    inline = {"kind": "inline", "must_understand": False, "metadata": hidden}
    change_json(store / METADATA, lambda group: group.update(consolidated_metadata=inline))
    reseal(store)
    check_refused(stores)


FRAMES: dict[str, dict[str, Any]] = {
    "name is a list": {"name": ["wide"]},
    "name without end": {"name": "x" * 200_000},
    "size is broken": {"size": float(SIZE)},
    "size is another": {"size": SIZE + 1},
    "size without end": {"size": 10**400},
    "no extent": {"extent": 0},
    "extent below zero": {"extent": -5.0},
    "hardly any extent": {"extent": 1e-320},
    "extent without end": {"extent": 10**400},
    "left of everything": {"left": float("-inf")},
    "left is no number": {"left": float("nan")},
    "left is a text": {"left": "5"},
    "left is true": {"left": True},
    "one key more": {"code": 1},
}


@pytest.mark.parametrize("values", FRAMES.values(), ids=FRAMES)
def test_a_frame_that_is_none_is_refused(stores: Path, values: dict[str, Any]) -> None:
    set_frame(stores / "faces.zarr", **values)
    check_refused(stores)


def test_a_frame_without_end_is_refused_in_few_words(stores: Path) -> None:
    set_attributes(stores / "faces.zarr", frame={str(at): at for at in range(15_000)})
    with within_bounds(), pytest.raises(InputError) as caught:
        FaceStore.open(stores / "faces.zarr")
    assert len(str(caught.value)) < 1000


CENTRES: dict[str, dict[str, Any]] = {
    "mean is no number": {"mean": [float("nan")] * WIDTH},
    "mean is too short": {"mean": [0.0] * (WIDTH - 1)},
    "mean of texts": {"mean": ["0"] * WIDTH},
    "mean of numbers without end": {"mean": [10**400] * WIDTH},
    "mean beyond float32": {"mean": [1e300] * WIDTH},
    "no mean": {"mean": None},
    "mean without end": {"mean": [0.0] * 50_000},
    "no spread": {"spread": 0},
    "spread below zero": {"spread": -1.0},
    "spread below float32": {"spread": 1e-60},
    "spread without end": {"spread": 10**400},
    "spread is true": {"spread": True},
    "spread is a list": {"spread": [1]},
}


@pytest.mark.parametrize("values", CENTRES.values(), ids=CENTRES)
def test_a_centre_that_is_none_is_refused(stores: Path, values: dict[str, Any]) -> None:
    set_attributes(stores / TEACHER, **values)
    check_refused(stores, TEACHER)


@pytest.mark.parametrize("size", [1 << 28, SIZE * SIZE * 3 * 64 + 1], ids=["bomb", "a byte more"])
def test_a_chunk_inflates_to_what_its_array_declares(stores: Path, size: int) -> None:
    write_shard(stores / "faces.zarr" / LAST, bomb(size))
    reseal(stores / "faces.zarr")
    check_refused(stores)


@pytest.mark.parametrize("frame", [b"", MAGIC, MAGIC + b"\x00\x50", b"x" * 20])
def test_a_chunk_says_to_what_it_inflates(stores: Path, frame: bytes) -> None:
    assert inflated_bytes(frame) is None
    write_shard(stores / "faces.zarr" / LAST, frame)
    reseal(stores / "faces.zarr")
    check_refused(stores)


@given(st.integers(1, 1 << 17), st.booleans())
def test_a_frame_header_is_read_as_it_was_written(size: int, checksum: bool) -> None:
    frame = bytes(Zstd(level=1, checksum=checksum).encode(bytes(size)))
    assert inflated_bytes(frame[:LONGEST_HEADER]) == size


@pytest.mark.parametrize("place", [(np.iinfo(np.uint64).max,) * 2, (1 << 40, 100)])
def test_a_chunk_that_is_not_there_is_reported(stores: Path, place: tuple[int, int]) -> None:
    write_shard(stores / "faces.zarr" / LAST, b"", place)
    reseal(stores / "faces.zarr")
    with within_bounds():
        assert [fault.file for fault in find_faults(stores / "faces.zarr")] == [LAST]


def test_a_usable_face_without_embedding_is_refused(stores: Path) -> None:
    rows = TeacherStore.open(stores / TEACHER).embeddings().astype(np.float32)
    rows[3, 1, 5] = np.nan
    root = FaceStore.open(stores / "faces.zarr").root
    toy_teacher(stores / TEACHER, rows, faces_root=root, task_rows=TASK_ROWS)
    reseal(stores / TEACHER, num_ok=ROWS, failures={})
    with pytest.raises(InputError, match=r"toy\.zarr: row 3 is a usable face"):
        read_everything(stores)
    check_refused(stores, TEACHER)
