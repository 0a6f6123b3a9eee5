"""Parquet files of strangers: columns that are others, and claims that memory has to pay for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.core.errors import InputError
from manifests.photographs.sources.base import AS_FOUND, Fields, Label
from manifests.photographs.sources.parquet import open_images
from tests.image_packs import pictures

COUNT = 30
BYTES = [item.data for item in pictures(people=COUNT, each=1)]
POOL = pa.proxy_memory_pool(
    pa.default_memory_pool()
)  # counts; what reads from it may outlive a test
PEOPLE = ["b", "a", None] * 10


def labels_of(path: Path, columns: dict[str, Any], fields: Fields = AS_FOUND) -> list[Label]:
    pq.write_table(pa.table(columns), path, row_group_size=7)
    found = open_images(path, fields)
    assert [found.read(name) for name in found.names] == BYTES
    return list(found.labels)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"image": BYTES}, [None] * COUNT),
        ({"image": BYTES, "identity": PEOPLE}, PEOPLE),
        ({"x": pa.array(BYTES, pa.large_binary()), "label": pa.array(PEOPLE, pa.large_string())},
         PEOPLE),
        ({"x": BYTES, "label": pa.array(PEOPLE).dictionary_encode()}, PEOPLE),
        ({"x": BYTES, "label": [1.0] * COUNT, "subject": [7] * COUNT}, [7] * COUNT),
        ({"x": BYTES, "label": [-1] * COUNT}, [None] * COUNT),
        ({"mask": BYTES[::-1], "img": BYTES}, [None] * COUNT),
        ({"image": [{"bytes": each, "path": "../../x"} for each in BYTES]}, [None] * COUNT),
        ({"image.bytes": [1] * COUNT, "image": [{"bytes": each} for each in BYTES]},
         [None] * COUNT),
    ],
)  # fmt: skip
def test_who_is_on_an_image(tmp_path: Path, columns: dict[str, Any], expected: list[Label]) -> None:
    assert labels_of(tmp_path / "a.parquet", columns) == expected


def test_columns_are_those_that_are_asked_for(tmp_path: Path) -> None:
    columns = {"left": BYTES, "right": BYTES[::-1], "who": PEOPLE, "label": [1] * COUNT}
    path = tmp_path / "a.parquet"
    assert labels_of(path, columns, Fields("left", "who")) == PEOPLE
    with pytest.raises(InputError, match="left, right: which of them are the faces: say --image"):
        open_images(path, AS_FOUND)
    with pytest.raises(InputError, match="--identity age: not there; there are: right, who, label"):
        open_images(path, Fields("left", "age"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1] * COUNT}, "columns x: none has images; images are bytes, or bytes and path"),
        ({"image": ["text"] * COUNT}, "none has images"),
        ({"image": [[each] for each in BYTES]}, "none has images"),
        ({"image": [{"bytes": "text"}] * COUNT}, "none has images"),
        ({"image": BYTES, "label": [[1]] * COUNT}, "label is of type list<element: int64>; who it"),
        ({"image": BYTES, "label": [True] * COUNT}, "label is of type bool"),
        ({"image": BYTES, "label": [float("nan")] * COUNT}, "row 0: its identity is nan"),
        ({"image": BYTES, "label": pa.array([2**63 + 1] * COUNT, pa.uint64())}, "row 0: its ident"),
        ({"image": BYTES, "label": ["a\nb"] * COUNT}, "row 0: its identity is 'a"),
        ({"image": BYTES, "label": ["x" * 5000] * COUNT}, "label of more than 1024 bytes"),
        ({"image": [b"x"] * 10**6}, "claims 1,000,000 images in [0-9,]+ bytes"),
        ({"image": pa.array([], pa.binary())}, "no images in it"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=message) as caught:
        open_images(path, AS_FOUND)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "image 0: it has no bytes; write the set with its images in it"),
        ({"bytes": None, "path": "a.png"}, "image 0: it has no bytes"),
        ({"bytes": b"", "path": None}, "image 0: it has no bytes"),
    ],
)
def test_images_that_are_elsewhere_are_refused(
    tmp_path: Path, image: dict[str, Any] | None, message: str
) -> None:
    path = tmp_path / "a.parquet"
    some = [image, *({"bytes": each, "path": "x"} for each in BYTES)]
    pq.write_table(pa.table({"image": some}), path)
    found = open_images(path, AS_FOUND)
    with pytest.raises(InputError, match=message):
        found.read("0")
    assert found.read("1") == BYTES[0]


def test_files_that_are_no_parquet_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": BYTES}), path)
    whole = path.read_bytes()
    for data in (
        b"", b"PAR1", whole[:-1], whole[:-8] + b"\xff\xff\xff\x7fPAR1", whole[:-4] + b"PARE",
        b"PAR1" + b"\x1c" * 400 + (392).to_bytes(4, "little") + b"PAR1",
    ):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(InputError, match="no Parquet file that can be read") as caught:
            open_images(tmp_path, AS_FOUND)
        assert "\n" not in str(caught.value)


def test_files_of_other_columns_are_not_mixed(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": BYTES, "label": PEOPLE}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": BYTES, "identity": PEOPLE}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: .* who it is in identity, in a\.parquet in"):
        open_images(tmp_path, AS_FOUND)


def test_links_to_files_are_files(tmp_path: Path) -> None:
    """As the cache of Hugging Face's hub has them."""
    (tmp_path / "snapshot/data").mkdir(parents=True)
    pq.write_table(pa.table({"image": BYTES, "label": PEOPLE}), tmp_path / "blob")
    (tmp_path / "snapshot/data/a.parquet").symlink_to("../../blob")
    found = open_images(tmp_path / "snapshot", AS_FOUND)
    assert (found.names[1], found.read("data/a.parquet/1")) == ("data/a.parquet/1", BYTES[1])
    (tmp_path / "blob").unlink()
    with pytest.raises(InputError, match=r"a\.parquet: no file, or a link that leads to none"):
        open_images(tmp_path / "snapshot", AS_FOUND)


def test_a_small_file_does_not_grow_large(tmp_path: Path) -> None:
    """One value that many rows share, of some bytes packed and many unpacked."""
    path = tmp_path / "a.parquet"
    large = bytes(40 << 20)
    table = pa.table({"image": [large] * 20})
    pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert path.stat().st_size < 10_000
    before = pa.default_memory_pool()
    pa.set_memory_pool(POOL)
    try:
        found = open_images(path, AS_FOUND)
        assert all(len(found.read(name)) == len(large) for name in found.names)
    finally:
        pa.set_memory_pool(before)
    assert len(large) < POOL.max_memory() < 5 * len(large)
