"""Rows straight from shards: those that zarr reads, and none of a shard that is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from manifests.core.errors import InputError
from manifests.stores.metadata import index_bytes
from manifests.stores.reading import FaceStore, read_rows
from tests.toys import toy_faces

SIZE, ROWS, TASK_ROWS, CHUNKS = 8, 300, 128, 2
FILE = "images/c/1/0/0/0"


@pytest.fixture
def faces(tmp_path: Path) -> FaceStore:
    images = np.random.default_rng(0).integers(0, 256, (ROWS, SIZE, SIZE, 3), dtype=np.uint8)
    return toy_faces(tmp_path / "faces.zarr", images, task_rows=TASK_ROWS)


def by_zarr(faces: FaceStore, start: int, stop: int) -> np.ndarray:
    return read_rows(faces.path, faces.group, "images", slice(start, stop))


@pytest.mark.parametrize(
    "rows",
    [(0, 64), (64, 128), (256, 300), (0, 300), (3, 5), (60, 70), (120, 140), (17, 299), (0, 0),
     (5, 5), (290, 400), (300, 310), (9, 4)],
)  # fmt: skip
def test_rows_are_those_that_zarr_reads(faces: FaceStore, rows: tuple[int, int]) -> None:
    found = faces.images(*rows)
    assert np.array_equal(found, by_zarr(faces, *rows))
    assert found.dtype == np.uint8


@pytest.mark.parametrize("rows", [(64, 128), (100, 290)])
def test_rows_are_put_where_they_are_wanted(faces: FaceStore, rows: tuple[int, int]) -> None:
    out = np.zeros((ROWS, SIZE, SIZE, 3), np.uint8)
    place = out[10 : 10 + rows[1] - rows[0]]
    assert faces.images(*rows, place) is place
    assert np.array_equal(place, by_zarr(faces, *rows))
    assert not out[:10].any() and not out[10 + len(place) :].any()


def with_index(change: Callable[[np.ndarray], None]) -> Callable[[bytes], bytes]:
    """The shard with another index, whose checksum is right."""

    def damaged(data: bytes) -> bytes:
        body, tail = data[: -index_bytes(CHUNKS)], data[-index_bytes(CHUNKS) : -4]
        index = np.frombuffer(tail, "<u8").reshape(-1, 2).copy()
        change(index)
        own = index.tobytes()
        return body + own + int(google_crc32c.value(own)).to_bytes(4, "little")

    return damaged


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


def set_to(column: int, value: int) -> Callable[[bytes], bytes]:
    def change(index: np.ndarray) -> None:
        index[0, column] = value

    return with_index(change)


NOWHERE = with_index(lambda index: index.__setitem__(0, np.iinfo(np.uint64).max))
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a bit of the pixels": (flipped(50), "checksum"),
    "a bit of the index": (flipped(-30), "checksum"),
    "a bit of the index's checksum": (flipped(-2), "checksum"),
    "nothing left": (lambda data: b"", "cut short"),
    "less than an index": (lambda data: data[:20], "cut short"),
    "cut at its end": (lambda data: data[:-1], "checksum"),
    "cut at its start": (lambda data: data[1:], "checksum|outside"),
    "chunk beyond the file": (set_to(0, 1 << 40), "outside"),
    "chunk without end": (set_to(1, 1 << 63), "outside"),
    "chunk of no byte": (set_to(1, 0), "cut short"),
    "chunk of a byte more": (set_to(1, 5), "checksum"),
    "chunk never written": (NOWHERE, "never written"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_is_refused_in_one_line(
    faces: FaceStore, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = faces.path / FILE
    path.write_bytes(damage(path.read_bytes()))
    for rows in ((128, 192), (100, 200)):
        with pytest.raises(InputError, match=message) as caught:
            faces.images(*rows)
        text = str(caught.value)
        assert FILE in text and "images is damaged" in text and "\n" not in text
    assert np.array_equal(faces.images(0, 64), by_zarr(faces, 0, 64))


def test_a_lost_shard_is_refused_and_not_read_as_black(faces: FaceStore) -> None:
    (faces.path / FILE).unlink()
    with pytest.raises(InputError, match=rf"images is damaged .*{FILE}"):
        faces.images(128, 192)
