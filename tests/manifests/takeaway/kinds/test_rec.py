"""train.rec as arcface_torch's MXFaceDataset reads it, by a twin of that without MXNet."""

from __future__ import annotations

import numbers
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.takeaway.delivering import pack_round
from tests.manifests.takeaway.kinds.conftest import check_face
from tests.packed import ROUND, SIZE

OUT = Path("as-rec")


@pytest.fixture(scope="module", autouse=True)
def packed(source: None) -> None:
    found = pack_round(ROUND, OUT, "rec")
    missing = read_json(OUT / "pack.json")["num_without_place"]
    assert missing > 100 and f"rows, {missing} without an identity left out;" in str(found)


class IndexedRecords:
    """mx.recordio.MXIndexedRecordIO and unpack; records in several pieces are not looked for."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "train.idx").read_text().splitlines()
        self.index = {int(line.split("\t")[0]): int(line.split("\t")[1]) for line in lines}
        self.data = (folder / "train.rec").read_bytes()

    def read(self, number: int) -> tuple[Any, int, bytes]:
        at = self.index[number]
        magic, length = struct.unpack_from("II", self.data, at)
        assert magic == 0xCED7230A and at % 4 == 0 and length < 1 << 29
        record = self.data[at + 8 : at + 8 + length]
        flag, label, own, _ = struct.unpack("IfQQ", record[:24])
        assert own == number
        if flag == 0:
            return label, flag, record[24:]
        return np.frombuffer(record, np.float32, flag, 24), flag, record[24 + 4 * flag :]


def arcface_dataset(records: IndexedRecords) -> list[tuple[np.ndarray, int]]:
    """(picture, label) as MXFaceDataset gives them."""
    label, flag, _ = records.read(0)
    assert flag > 0
    found = []
    for number in range(1, int(label[0])):
        own, _, data = records.read(number)
        assert isinstance(own, numbers.Number)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        found.append((cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), int(own)))
    return found


def kept(truth: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    faces = [face for face in truth if face["ok"] and face["identity_id"] is not None]
    return sorted(faces, key=lambda face: (face["identity_id"], face["row"]))


def test_arcface_torch_reads_every_usable_face_of_an_identity(truth: list[dict[str, Any]]) -> None:
    found, wanted = arcface_dataset(IndexedRecords(OUT)), kept(truth)
    assert len(found) == len(wanted) > 200
    for (picture, label), face in zip(found, wanted, strict=True):
        assert label == [0, 7, 10, 213].index(face["identity_id"])
        np.testing.assert_array_equal(picture, face["pixels"])


def test_identities_name_their_ranges(truth: list[dict[str, Any]]) -> None:
    records, wanted = IndexedRecords(OUT), kept(truth)
    (first, last), _, _ = records.read(0)
    assert (first, last) == (len(wanted) + 1, len(wanted) + 5)
    assert sorted(records.index) == list(range(int(last)))
    for place, number in enumerate(range(int(first), int(last))):
        (start, stop), _, rest = records.read(number)
        assert rest == b"" and stop > start
        labels = {records.read(face)[0] for face in range(int(start), int(stop))}
        assert labels == {place}
    assert (OUT / "property").read_text() == f"4,{SIZE},{SIZE}\n"


def test_the_table_knows_each_record_s_face(truth: list[dict[str, Any]]) -> None:
    rows, records = pq.read_table(OUT / "metadata.parquet").to_pylist(), IndexedRecords(OUT)
    assert len(rows) == len(kept(truth))
    for row in rows:
        assert records.read(row["record"])[0] == row["label"]
        check_face(row, {k: v for k, v in truth[row["row"]].items() if k != "pixels"})


def test_faces_without_identities_are_refused(truth: list[dict[str, Any]]) -> None:
    nobody = next(face["row"] for face in truth if face["identity_id"] is None)
    with pytest.raises(InputError, match=r"none of these 1 faces has an identity.*; pack it as"):
        pack_round(ROUND, Path("bad"), "rec", selection=f"{nobody}:{nobody + 1}")
