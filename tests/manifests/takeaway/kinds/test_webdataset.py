"""Tar shards as the library `webdataset` reads them: all that the stores say of usable faces."""

from __future__ import annotations

import math
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.takeaway.delivering import pack_round
from tests.manifests.takeaway.kinds.conftest import check_face
from tests.packed import ROUND, TEACHERS

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library, which leaves files open
OUT = Path("as-tar")


@pytest.fixture(scope="module", autouse=True)
def packed(source: None) -> None:
    pack_round(ROUND, OUT, "webdataset")


def shards() -> list[str]:
    return sorted(map(str, OUT.glob("*.tar")))


def with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [with_nan(each) for each in value]
    return math.nan if value is None else value


def test_webdataset_reads_every_usable_face(truth: list[dict[str, Any]]) -> None:
    samples = list(webdataset.WebDataset(shards(), shardshuffle=False).decode("rgb8"))
    wanted = [face for face in truth if face["ok"]]
    assert len(samples) == len(wanted) < len(truth)
    for sample, face in zip(samples, wanted, strict=True):
        assert int(sample["__key__"]) == face["face_id"]
        found = {name: with_nan(value) for name, value in sample["json"].items()}
        found |= {"pixels": sample["png"], "latent": sample.get("latent.npy")}
        for teacher in TEACHERS:
            plain, flip = sample[f"{teacher}.npy"]
            found |= {f"embedding_plain_{teacher}": plain, f"embedding_flip_{teacher}": flip}
        empty = {name for name, value in face.items() if value is None}
        assert not empty & set(sample["json"])  # null would be a number that is none
        check_face(found, face)


def test_shards_are_plain_ustar_of_no_time_and_nobody() -> None:
    assert [Path(path).name for path in shards()] == ["faces-000000.tar", "faces-000001.tar"]
    for path in shards():
        assert Path(path).read_bytes()[257:263] == b"ustar\0"
        with tarfile.open(path, "r:") as tar:
            said = {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode, e.type) for e in tar}
        assert said == {(0, 0, 0, "", "", 0o644, tarfile.REGTYPE)}


def test_failed_faces_come_along_if_asked_for(truth: list[dict[str, Any]]) -> None:
    pack_round(ROUND, Path("all"), "webdataset", selection="0:40", teachers=["toy"])
    samples = list(webdataset.WebDataset("all/faces-000000.tar", shardshuffle=False).decode())
    failed = next(row for row, face in enumerate(truth) if not face["ok"])
    assert len(samples) == 40 and failed < 40
    assert samples[failed]["json"]["quality"] is None
    assert samples[failed]["json"]["reason"] == "no_face"


@pytest.mark.parametrize("name", ["latent", "json", "Toy", "t" * 71])
def test_teachers_whose_files_would_be_taken_for_others_are_refused(name: str) -> None:
    store = layout.teacher(ROUND, name)
    store.symlink_to(Path("toy.zarr"))
    try:
        with pytest.raises(InputError, match=r"no name that tells its files .*; take others"):
            pack_round(ROUND, Path("bad"), "webdataset", teachers=["toy", name])
    finally:
        store.unlink()
