"""A file that is damaged, or not laid out as ours are, is refused before its values are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.takeaway.hdf5 import LAST_LINE, Form
from manifests.takeaway.unpacking import import_round
from tests.packed import BAD, FEW, GOOD, LAST, SIZE, Change, forge, packed, put, refused, swap

COUNT = 70


@pytest.fixture(scope="module", autouse=True)
def folder() -> Iterator[None]:
    with packed(COUNT):
        yield


@settings(max_examples=60)
@given(st.data())
def test_a_flipped_bit_is_noticed(data: st.DataObject) -> None:
    raw = bytearray(GOOD.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    BAD.write_bytes(raw)
    refused("not all bytes are as they were written")


@settings(max_examples=20)
@given(st.data())
def test_a_file_cut_short_or_made_longer_is_noticed(data: st.DataObject) -> None:
    raw = GOOD.read_bytes()
    kept = data.draw(st.integers(0, len(raw) - 1))
    BAD.write_bytes(data.draw(st.sampled_from([raw[:kept], raw + raw[: kept + 1]])))
    refused("not all bytes are as they were written")


def test_what_is_no_take_away(tmp_path: Path) -> None:
    for data in (b"", b"\x89HDF\r\n\x1a\n", bytes(LAST), b"face_id\n1\n" * 100):
        BAD.write_bytes(data)
        refused("no take-away")
    for path, fault in ((tmp_path, "a folder"), (tmp_path / "absent.h5", "no such file")):
        with pytest.raises(InputError, match=fault):
            import_round(path, FEW)


def test_bytes_that_are_no_hdf5() -> None:
    data = bytes(1000)
    BAD.write_bytes(data + LAST_LINE.format(hashlib.sha256(data).hexdigest()).encode())
    refused("signature not found")


def test_a_file_without_contents() -> None:
    forge(lambda file, values: file.__delitem__("contents"))
    refused("contents is missing")


def link(name: str, target: object) -> Change:
    def change(file: h5py.File, values: dict[str, Any]) -> None:
        del file[name]
        file[name] = target

    return change


def virtual(file: h5py.File, values: dict[str, Any]) -> None:
    place = h5py.VirtualLayout((COUNT,), np.float32)
    place[:] = h5py.VirtualSource("other.h5", "quality", (COUNT,))
    del file["faces/quality"]
    file.create_virtual_dataset("faces/quality", place)


def external(file: h5py.File, values: dict[str, Any]) -> None:
    del file["faces/quality"]
    outside = [("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("faces/quality", (COUNT,), np.float32, external=outside)


def stray(file: h5py.File, values: dict[str, Any]) -> None:
    put(file, "faces/more", np.zeros(COUNT, np.float32))


def huge(file: h5py.File, values: dict[str, Any]) -> None:
    form = Form("|u1", ((1 << 31) - 1, SIZE, SIZE, 3))  # HDF5 stores none of it
    chunks = (form.chunk_rows, *form.shape[1:])
    del file["faces/images"]
    file.create_dataset("faces/images", form.shape, "|u1", chunks=chunks, fletcher32=True)
    values["datasets"]["faces/images"] = {"dtype": form.dtype, "shape": form.shape}


def chunk(data: bytes, **kept: Any) -> Change:
    """Bytes in place of a stored chunk."""

    def change(file: h5py.File, values: dict[str, Any]) -> None:
        file["faces/quality"].id.write_direct_chunk((0,), data, **kept)

    return change


def unwritten(file: h5py.File, values: dict[str, Any]) -> None:
    del file["faces/quality"]
    file.create_dataset("faces/quality", (COUNT,), "<f4", chunks=(COUNT,), fletcher32=True)


def texts_of_any_length(file: h5py.File, values: dict[str, Any]) -> None:
    del file["manifest/law"]
    file.create_dataset("manifest/law", (COUNT,), h5py.string_dtype(), chunks=(COUNT,))


def renamed(old: str, new: str) -> Change:
    def change(file: h5py.File, values: dict[str, Any]) -> None:
        values["datasets"][new] = values["datasets"].pop(old)
        if ".." not in new:
            file.move(old, new)

    return change


NUMBERS = np.zeros(COUNT, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link("faces/quality", h5py.ExternalLink("/etc/passwd", "x")), "may lead elsewhere"),
        (link("faces/quality", h5py.SoftLink("/manifest/score")), "may lead elsewhere"),
        (link("teachers", h5py.SoftLink("/faces")), "may lead elsewhere"),
        (link("faces/quality", np.dtype("f4")), "is no data set"),
        (virtual, "not laid out as we do it"),
        (external, "not laid out as we do it"),
        (stray, "has 6 members, its contents name 5"),
        (huge, r"declares \d+ bytes and has"),
        (chunk(bytes(12)), "chunks that are missing, of other sizes or unchecked"),
        (chunk(bytes(4 * COUNT), filter_mask=1), "chunks that are missing, of other sizes"),
        (unwritten, "chunks that are missing"),
        (texts_of_any_length, "manifest/law is object"),
        (swap("faces/quality", NUMBERS, compression="gzip"), "not laid out as we do it"),
        (swap("faces/quality", NUMBERS, fletcher32=None), "not laid out as we do it"),
        (swap("faces/quality", NUMBERS, chunks=(7,)), "not laid out as we do it"),
        (swap("faces/quality", NUMBERS.astype(">f4")), "a data set 'faces/quality' of '>f4'"),
        (swap("faces/quality", NUMBERS.astype("c8")), "a data set 'faces/quality' of '<c8'"),
        (renamed("faces/quality", "faces/../../quality"), "a data set 'faces/../../quality'"),
        (renamed("teachers/toy/norms", "teachers/../norms"), "a data set 'teachers/../norms'"),
        (renamed("faces/quality", "faces/zarr.json"), "a data set 'faces/zarr.json'"),
        (renamed("faces/quality", "runs/quality"), "a data set 'runs/quality'"),
    ],
)
def test_a_file_that_is_not_laid_out_as_ours(change: Change, message: str) -> None:
    forge(change)
    refused(message)


def test_a_file_that_points_to_itself_does_not_hang() -> None:
    def change(file: h5py.File, values: dict[str, Any]) -> None:
        file["faces/again"] = file["faces"]

    forge(change)
    refused("members")
