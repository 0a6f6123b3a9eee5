"""Records come back as they were, also where the magic number stands in them."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.photographs.sources.rec import MARK
from manifests.takeaway.kinds.recordio import frame, pack, read_record, unpack

DATA = st.lists(st.one_of(st.binary(max_size=9), st.just(MARK)), max_size=8).map(b"".join)


def dmlc_frame(data: bytes) -> bytes:
    """dmlc-core's RecordIOWriter::WriteRecord, statement by statement."""
    out, begin = b"", 0
    for at in range(0, len(data) >> 2 << 2, 4):
        if data[at : at + 4] == MARK:
            kind = 1 if begin == 0 else 2
            out += MARK + struct.pack("<I", kind << 29 | at - begin) + data[begin:at]
            begin = at + 4
    kind = 3 if begin else 0
    out += MARK + struct.pack("<I", kind << 29 | len(data) - begin) + data[begin:]
    return out + bytes(-(len(data) - begin) % 4)


@given(st.lists(DATA, max_size=4))
def test_records_are_framed_as_dmlc_does_and_read_back(records: list[bytes]) -> None:
    framed = [frame(record) for record in records]
    assert framed == [dmlc_frame(record) for record in records]
    with tempfile.TemporaryFile() as file:
        file.write(b"".join(framed))
        file.seek(0)
        assert [read_record(file) for _ in records] == records
        assert read_record(file) is None


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 24), DATA)
def test_headers_come_back(number: int, label: int, picture: bytes) -> None:
    found, labels, rest = unpack(pack(number, label, picture))
    assert (found, labels.tolist(), rest) == (number, [label], picture)
    found, labels, rest = unpack(pack(number, (label, 3), picture))
    assert (found, labels.tolist(), rest) == (number, [label, 3], picture)


@pytest.mark.parametrize("change", [lambda d: d[:-4], lambda d: d[:6], lambda d: b"\0" + d[1:]])
def test_what_is_no_record_is_refused(tmp_path: Path, change: object) -> None:
    (tmp_path / "f").write_bytes(change(frame(b"12345678")))  # type: ignore[operator]
    with (tmp_path / "f").open("rb") as file, pytest.raises(InputError):
        read_record(file)
