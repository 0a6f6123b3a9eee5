"""InsightFace's records of strangers: offsets may point anywhere, lengths say anything."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.core.errors import InputError
from manifests.photographs.sources.base import AS_FOUND
from manifests.photographs.sources.rec import open_images
from tests.image_packs import MARK, Item, header, pictures, record, write_rec

ITEMS = pictures(people=2, each=3)


def packed(folder: Path, records: dict[int, bytes], offsets: dict[int, int] | None = None) -> Path:
    """A file of such records, written as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    data, lines = b"", ""
    for key, own in records.items():
        lines += f"{key}\t{(offsets or {}).get(key, len(data))}\n"
        data += own
    (folder / "train.rec").write_bytes(data)
    (folder / "train.idx").write_text(lines)
    return folder


def test_images_with_the_mark_in_them_are_put_together(tmp_path: Path) -> None:
    for cut in (b"abcd" + MARK, MARK * 3 + b"xyz", b"abc" + MARK, MARK + b"abcd" * 9 + MARK):
        data = ITEMS[0].data + bytes(-len(ITEMS[0].data) % 4) + cut
        found = open_images(write_rec([ITEMS[1], Item(0, data)], tmp_path), AS_FOUND)
        assert [found.read(name) for name in found.names] == [ITEMS[1].data, data]


def test_a_file_without_identities_has_images_alone(tmp_path: Path) -> None:
    path = packed(
        tmp_path, {5: record(header(3) + b"a" * 40), 2: record(header([4, 1]) + b"b" * 9)}
    )
    found = open_images(path / "train.rec", AS_FOUND)
    assert dict(zip(found.names, found.labels, strict=True)) == {"5": 3, "2": 4}
    assert found.read("2") == b"b" * 9


WHOLE = record(header(1) + ITEMS[0].data)
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("records", "offsets", "message"),
    [
        ({1: WHOLE}, {1: 4}, "record 1 at 4: no record begins there; bring the .idx"),
        ({1: WHOLE}, {1: 10**15}, "record 1 at 1000000000000000: cut short or damaged"),
        ({1: WHOLE[:4] + struct.pack("<I", 2**29 - 1) + WHOLE[8:]}, {}, "claims 536870911 bytes"),
        ({1: WHOLE[:20]}, {}, "record 1 at 0: it claims"),
        ({1: WHOLE[:4] + struct.pack("<I", 3 << 29 | 40) + WHOLE[8:]}, {}, "in the middle of"),
        ({1: WHOLE[:4] + struct.pack("<I", 7 << 29 | 40) + WHOLE[8:]}, {}, "in the middle of"),
        ({1: WHOLE[:4] + struct.pack("<I", 1 << 29 | 41) + WHOLE[8:]}, {}, "does not end where"),
        ({1: (MARK + struct.pack("<I", 1 << 29)) + (MARK + struct.pack("<I", 2 << 29)) * 99}, {},
         "more than 64 parts"),
        ({1: record(b"short")}, {}, "it ends within its label"),
        ({1: record(struct.pack("<IfQQ", 2**31, 0, 0, 0))}, {}, "2147483648 labels, at most 16"),
        ({1: record(struct.pack("<IfQQ", 4, 0, 0, 0))}, {}, "it ends within its labels"),
        ({1: record(header(NAN) + b"x")}, {}, "record 1: its identity is nan"),
        ({1: record(header([INF, 0]) + b"x")}, {}, "record 1: its identity is inf"),
        ({1: record(header(0.5) + b"x")}, {}, "record 1: its identity is 0.5"),
        ({0: record(header([NAN, 9])), 1: WHOLE}, {}, "record 0 says that images end at nan"),
        ({0: record(header([1e9, 9])), 1: WHOLE}, {}, "says 999999999 images, the .idx has 1"),
        ({0: record(header([1, 9])), 1: WHOLE}, {}, "no images in it"),
    ],
)  # fmt: skip
def test_records_that_lie_are_refused(
    tmp_path: Path, records: dict[int, bytes], offsets: dict[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_images(packed(tmp_path, records, offsets), AS_FOUND)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda idx: idx.unlink(), "train.idx: no such file; it says where"),
        (lambda idx: idx.write_text("1\t2\t3\n"), "line 1: expected KEY, a tab, OFFSET"),
        (lambda idx: idx.write_text("1\t0\n1\t0\n"), "line 2: key 1 comes twice"),
        (lambda idx: idx.write_text("1\t-4\n"), "line 1: expected KEY"),
        (lambda idx: idx.write_text(f"1\t{'9' * 5000}\n"), "line 1: expected KEY"),
        (lambda idx: idx.write_text("\n"), "line 1: expected KEY"),
        (lambda idx: idx.write_text(""), "no images in it"),
    ],
)
def test_an_index_that_is_none_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    path = packed(tmp_path, {1: WHOLE})
    spoil(path / "train.idx")
    with pytest.raises(InputError, match=message):
        open_images(path, AS_FOUND)


def test_images_that_lie_in_one_another_are_refused(tmp_path: Path) -> None:
    """A line of the index is some bytes; an image is some work."""
    path = packed(tmp_path, {1: WHOLE, 2: b"", 3: b""}, {2: 0, 3: 0})
    with pytest.raises(InputError, match=r"its images claim .* they lie in one another"):
        open_images(path, AS_FOUND)
