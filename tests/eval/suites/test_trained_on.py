"""Training faces, counted from what really lies in a checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.suites.trained_on import faces_of_run
from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.stores.reading import FaceStore
from tests.toys import make_round
from train.checkpoint import FILE, LOG, StudentCard, load_student, save_student
from train.students import build_student

RUN = Path("runs/mine")


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_run(
    *stores: FaceStore, used: int = 50, run: Path = RUN, after: str | None = None, **params: object
) -> None:
    roots = {store.path.as_posix(): store.root for store in stores}
    card = StudentCard(
        "small-resnet", 32, 0.25, 16, "arcface112", "cosine", "plain", canonical_json(roots),
        "0" * 64, "unknown", 640,
    )  # fmt: skip
    network = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
    save_student(run / FILE, network, card)
    log = {"student": {"sha256": load_student(run).sha256}, "num_faces": used}
    write_json(run / LOG, log | {"after": after, "params": params})


def usable(store: FaceStore) -> int:
    return int(store.ok().sum())


def test_faces_are_counted_by_where_they_come_from() -> None:
    drawn, _ = make_round("pool", 60, seed=1)
    real, _ = make_round("people", 30, seed=2, real_faces="of our staff, who agreed")
    found, _ = make_round("found", 20, seed=3, origin="imported")
    make_run(drawn, real, found, used=70)
    faces = faces_of_run(RUN)
    counts = (faces.synthetic, faces.photographs, faces.unknown)
    assert counts == (usable(drawn), usable(real), usable(found))
    assert faces.statements == ("of our staff, who agreed",)
    assert (faces.used, faces.synthetic_used) == (70, usable(drawn))
    assert faces.identities is None  # the pool's faces are nobody's


def test_identities_are_counted_where_every_face_has_one() -> None:
    stores = [
        make_round(name, 24, seed=seed, identity_id=np.arange(24) % people)[0]
        for name, seed, people in (("one", 1, 8), ("two", 2, 6))
    ]
    make_run(*stores)
    assert faces_of_run(RUN).identities == 14


def test_faces_of_the_runs_before_count_too() -> None:
    """A run that goes on with all faces saw no more than it says; one that chose some of them, or
    looked at others and left the student as it was, saw those of the runs before beside."""
    pool, _ = make_round("pool", 90, seed=1)
    real, _ = make_round("people", 30, seed=2, real_faces="of our staff, who agreed")
    first = Path("runs/first")
    make_run(pool, used=60, run=first)
    make_run(pool, used=70, after="first")
    assert faces_of_run(RUN).used == 70
    make_run(pool, used=20, after="first", chosen={"rounds": {}})
    assert faces_of_run(RUN).used == 80
    make_run(pool, used=20, after="first", runs={"mine": {"identities": {"part": 0}}})
    assert faces_of_run(RUN).used == 80
    make_run(real, used=25, run=first)
    make_run(pool, used=20, after="first")  # of the head alone: its card names no other stores
    faces = faces_of_run(RUN)
    assert (faces.used, faces.photographs) == (45, usable(real))


@pytest.mark.parametrize("name", ["gone", "mine"])
def test_a_run_before_that_is_not_at_hand_cannot_keep_a_cap(name: str) -> None:
    pool, _ = make_round("pool", 20)
    make_run(pool, after=name)
    with pytest.raises(InputError, match=f"runs/{name}: no run that runs/mine could continue"):
        faces_of_run(RUN)


def test_a_store_that_is_not_at_hand_cannot_keep_a_cap() -> None:
    pool, _ = make_round("pool", 20)
    make_run(pool)
    layout.faces("pool").rename("elsewhere.zarr")
    with pytest.raises(InputError, match="not here, runs/mine was trained on it"):
        faces_of_run(RUN)


def test_nor_can_another_store_in_its_place() -> None:
    pool, _ = make_round("pool", 20)
    make_run(pool)
    make_round("pool", 30, seed=9)
    with pytest.raises(InputError, match="runs/mine was trained on"):
        faces_of_run(RUN)


def test_the_log_must_be_the_student_s() -> None:
    pool, _ = make_round("pool", 20)
    make_run(pool)
    write_json(RUN / LOG, {**read_json(RUN / LOG), "student": {"sha256": "ab" * 32}})
    with pytest.raises(InputError, match="of student abababababab"):
        faces_of_run(RUN)
    write_json(RUN / LOG, {"rounds": []})
    with pytest.raises(InputError, match="not the log of a run"):
        faces_of_run(RUN)
    write_json(RUN / LOG, {"student": {"sha256": load_student(RUN).sha256}})
    with pytest.raises(InputError, match="does not say how many faces were used"):
        faces_of_run(RUN)
