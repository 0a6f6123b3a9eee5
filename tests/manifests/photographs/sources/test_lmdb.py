"""LMDB files of strangers: pages that lie, and pickles that would like to be run."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.photographs.sources.base import AS_FOUND, Bytes
from manifests.photographs.sources.lmdb import PAGE, entries, open_images
from tests.image_packs import pictures, put_lmdb, write_lmdb

ITEMS = pictures(people=2, each=30)
IMAGE = ITEMS[0].data
SIZE = os.sysconf("SC_PAGE_SIZE")  # of a page


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=300), st.binary(max_size=9000), max_size=60))
def test_entries_are_those_that_lmdb_finds(
    tmp_path_factory: pytest.TempPathFactory, values: dict[bytes, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("lmdb") / "a"
    with lmdb.open(str(folder), map_size=1 << 26) as database:
        for number, (key, value) in enumerate(values.items()):  # a state each, of which one counts
            with database.begin(write=True) as writing:
                writing.put(key, value)
                if number % 3 == 2:
                    writing.delete(key)
        with database.begin() as reading:
            wanted = [(bytes(key), bytes(value)) for key, value in reading.cursor()]
    with Bytes(folder / "data.mdb") as file:
        found = [(each.key, file.at(each.offset, each.size)) for each in entries(file)]
    assert found == wanted


def found_in(tmp_path: Path, values: dict[bytes, bytes], beside: str | None = None) -> list[object]:
    put_lmdb(tmp_path / "a", iter(values.items()))
    if beside is not None:
        (tmp_path / "a/train.tsv").write_text(beside)
    found = open_images(tmp_path / "a/data.mdb", AS_FOUND)
    assert {found.read(name) for name in found.names} == {IMAGE}
    return [(name, label) for name, label in zip(found.names, found.labels, strict=True)]


@pytest.mark.parametrize(
    ("key", "value", "beside", "expected"),
    [
        (b"7", IMAGE, None, ("7", None)),
        (b"anna/7.png", IMAGE, None, ("anna/7.png", "anna")),
        (b"\x00\x07", IMAGE, None, ("0007", None)),
        (b"7", IMAGE, "key\tlabel\n7\t12\n", ("7", 12)),
        (b"7", IMAGE, "7 Anna Karenina\n", None),
        (b"7", IMAGE, "7\t-1\n", ("7", None)),
        (b"7", IMAGE, "7\t3\n7\t3\n", ("7", 3)),
        (b"7", IMAGE, "7\t3\n7\t4\n", None),
        (b"7", pickle.dumps((IMAGE, 3, 4, 5), 4), None, None),
        (b"7", IMAGE, "7\tAnna Karenina\n", ("7", "Anna Karenina")),
        (b"7", pickle.dumps((IMAGE, 12)), None, ("7", 12)),
        (b"7", pickle.dumps([IMAGE, 12], 2), None, None),
        (b"7", pickle.dumps((IMAGE, "Anna"), 4), None, ("7", "Anna")),
        (b"a/7", pickle.dumps((IMAGE, None)), None, ("a/7", "a")),
    ],
)
def test_who_is_on_an_image(
    tmp_path: Path, key: bytes, value: bytes, beside: str | None, expected: object
) -> None:
    if expected is None:
        with pytest.raises(InputError):
            found_in(tmp_path, {key: value}, beside)
    else:
        assert found_in(tmp_path, {key: value, b"size": b"12"}, beside) == [expected]


class Runs:
    """A pickle that leaves a file behind when it is run."""

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, ("was-run", 0o700)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pickle.dumps((IMAGE, Runs())), "its pickle says .*; nothing of it was run"),
        (pickle.dumps(Runs()), "its pickle says .*; nothing of it was run"),
        (pickle.dumps((IMAGE, 1.5)), "its pickle says BINFLOAT"),
        (pickle.dumps((IMAGE, -(10**30))), "its identity is -1000"),
        (pickle.dumps(("x" * 99, 3)), "its pickle has no bytes of an image"),
        (pickle.dumps((IMAGE, 3))[:-9], "image 7: "),
        (b"\x80" + b"\xff" * 99, "image 7: "),
        (b"\x80\x04\x8e" + b"\xff" * 99, "image 7: "),
    ],
)
def test_pickles_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    put_lmdb(Path("a"), iter([(b"7", value)]))
    with pytest.raises(InputError, match=message) as caught:
        open_images(Path("a"), AS_FOUND)
    assert "\n" not in str(caught.value) and not Path("was-run").exists()


def root(data: bytearray) -> tuple[int, int]:
    """Number of the newest state's root page, and where that number stands."""
    place = max((0, SIZE), key=lambda at: struct.unpack_from("<Q", data, at + 144)[0]) + 128
    return struct.unpack_from("<Q", data, place)[0], place + 0


def root_at(number: int) -> Callable[[bytearray], object]:
    return lambda data: struct.pack_into("<Q", data, root(data)[1], number)


def first_child(number: int) -> Callable[[bytearray], object]:
    """The root's children are all the page of that number, the root itself if it is 0."""

    def change(data: bytearray) -> None:
        own = root(data)[0]
        page = own * SIZE
        lower = PAGE.unpack_from(data, page)[3]
        for at in range(page + PAGE.size, page + lower, 2):
            node = page + struct.unpack_from("<H", data, at)[0]
            struct.pack_into("<HHH", data, node, number or own, 0, 0)

    return change


def in_root(offset: int, value: int) -> Callable[[bytearray], object]:
    return lambda data: struct.pack_into("<H", data, root(data)[0] * SIZE + offset, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.__delitem__(slice(SIZE * 5, None)), "cut short or damaged"),
        (lambda data: data.__delitem__(slice(100, None)), "cut short or damaged"),
        (lambda data: data.clear(), "cut short or damaged"),
        (lambda data: data.__setitem__(slice(16, 20), b"\0" * 4), "no LMDB file of 64-bit"),
        (lambda data: data.__setitem__(slice(24 + 16, 28 + 16), b"\0\0\1\0"), "page"),
        (root_at(10**9), "cut short or damaged"),
        (root_at(2**63), "cut short or damaged"),
        (root_at(0), "page 0 is damaged"),
        (first_child(0), "page .* is damaged"),
        (first_child(2**15), "cut short or damaged"),
        (in_root(10, 0x42), "page|keys"),
        (in_root(10, 4), "is damaged"),
        (in_root(12, 0xFFFF), "is damaged"),
        (in_root(12, 3), "is damaged"),
        (in_root(16, 0xFFF8), "is damaged"),
    ],
)
def test_pages_that_lie_are_refused(
    tmp_path: Path, change: Callable[[bytearray], object], message: str
) -> None:
    path = write_lmdb(ITEMS, tmp_path / "a") / "data.mdb"
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        open_images(path, AS_FOUND)
    assert "\n" not in str(caught.value)


def test_databases_within_one_are_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "a"), max_dbs=2, map_size=1 << 22) as database:
        inside = database.open_db(b"images")
        with database.begin(write=True, db=inside) as writing:
            writing.put(b"7", IMAGE)
    with pytest.raises(InputError, match="databases within the database; one is expected"):
        open_images(tmp_path / "a", AS_FOUND)


def test_a_pickle_of_many_instructions_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    told = pickletools.genops

    def counted(pickle: bytes) -> Iterator[object]:
        for each in told(pickle):
            read.append(each)
            yield each

    monkeypatch.setattr(pickletools, "genops", counted)
    with pytest.raises(InputError, match="its pickle has no bytes of an image"):
        found_in(tmp_path, {b"7": b"\x80\x02" + b"(" * 10_000 + b"."})
    assert len(read) < 100
