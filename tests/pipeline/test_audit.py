"""The auditor makes rows again: true stores pass, each kind of untruth does not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import Params
from manifests.stores.reading import FaceStore, TeacherStore
from pipeline.audit import (
    Agreement,
    audit,
    compare_embeddings,
    compare_faces,
    draw,
    main,
    read_faces,
    verdict,
)
from pipeline.building.faces import Faces
from pipeline.building.workers import Workers
from tests.pipeline.conftest import SHARDED_ROWS
from tests.toys import PASSPORT, toy_teacher

FACES = layout.faces("pool")
TEACHER = layout.teacher("pool", "dlib-resnet")


@pytest.mark.parametrize("store", [FACES, TEACHER])
def test_a_true_store_agrees_to_the_bit(sharded: Params, store: Path) -> None:
    found = audit(store, sharded, Workers(1), rows=40, seed=1)
    assert found.holds and found.rows == 40
    assert (found.unlike_values, found.largest_landmark) == (0, 0.0)
    assert found.least_cosine == pytest.approx(1.0, abs=1e-12)


def test_more_rows_than_there_are_means_all(sharded: Params) -> None:
    assert audit(FACES, sharded, Workers(1), rows=10**6, seed=1).rows == SHARDED_ROWS


def test_forged_embeddings_are_found_out(sharded: Params) -> None:
    true = TeacherStore.open(TEACHER)
    rows = true.embeddings().astype(np.float32)
    usable = np.flatnonzero(np.isfinite(rows).all(axis=(1, 2)))
    rows[usable] = rows[np.roll(usable, 1)]  # each face has its neighbour's
    passport = replace(
        PASSPORT,
        **{
            name: getattr(true.passport, name)
            for name in ("round", "manifest_digest", "fingerprint")
        },
    )
    toy_teacher(TEACHER, rows, faces_root=str(true.passport.faces_root), passport=passport)
    found = audit(TEACHER, sharded, Workers(1), rows=SHARDED_ROWS, seed=0)
    assert not found.holds and found.least_cosine < 0.9


def test_other_parts_cannot_audit(sharded: Params) -> None:
    other = replace(sharded, render=replace(sharded.render, frame_size=48))
    with pytest.raises(InputError, match="today's would be"):
        audit(FACES, other, Workers(1), rows=4, seed=0)


def stored(rows: list[int]) -> Faces:
    return read_faces(FaceStore.open(FACES), np.array(rows))


class TestTolerance:
    def test_rounding_of_a_few_values_is_allowed(self, sharded: Params) -> None:
        true, again = stored([*range(20)]), stored([*range(20)])
        again.images[0, 0, 0, 0] ^= 1
        found = compare_faces(true, again)
        assert found.holds and found.unlike_values == 1

    def test_one_value_off_by_two_is_not(self, sharded: Params) -> None:
        true, again = stored([3]), stored([3])
        again.images[0, 0, 0, 0] ^= 2
        assert not compare_faces(true, again).holds

    def test_many_values_off_by_one_are_not(self, sharded: Params) -> None:
        true, again = stored([3]), stored([3])
        again.images[0] ^= 1
        assert not compare_faces(true, again).holds

    def test_another_outcome_is_not(self, sharded: Params) -> None:
        true, again = stored([3]), stored([3])
        again.reason[0] ^= 1
        assert not compare_faces(true, again).holds

    @pytest.mark.parametrize(("shift", "holds"), [(0.4, True), (0.6, False)])
    def test_landmarks_may_move_half_a_pixel(
        self, sharded: Params, shift: float, holds: bool
    ) -> None:
        row = int(np.flatnonzero(FaceStore.open(FACES).ok())[0])
        true, again = stored([row]), stored([row])
        again.landmarks[0, 2, 0] += shift
        assert compare_faces(true, again).holds is holds

    @given(st.floats(0.0, 0.05))
    def test_cosine_is_that_of_the_angle(self, angle: float) -> None:
        one = np.array([[[2.0, 1.0]]])
        two = np.array([[[1.0 + np.cos(angle), 1.0 + np.sin(angle)]]])
        found = compare_embeddings(one, two, np.ones(2))
        assert found.least_cosine == pytest.approx(np.cos(angle), abs=1e-12)
        assert found.holds is (found.least_cosine >= 0.9999)


def test_failed_in_both_is_agreement_and_in_one_is_not() -> None:
    nan, one = np.full((1, 1, 2), np.nan), np.ones((1, 1, 2))
    assert compare_embeddings(nan, nan, np.zeros(2)).holds
    assert not compare_embeddings(nan, one, np.zeros(2)).holds


@given(st.integers(0, 300), st.integers(0, 400), st.integers(0, 5))
def test_a_draw_is_of_distinct_ascending_rows(num_rows: int, count: int, seed: int) -> None:
    rows = draw(num_rows, count, seed)
    assert len(rows) == min(num_rows, count)
    assert (np.diff(rows) > 0).all() and ((rows >= 0) & (rows < num_rows)).all()


def test_parts_add_up() -> None:
    parts = [Agreement(3, 0, 9, 1, 1, 0.2, 0.99), Agreement(2, 1, 6, 0, 4, 0.1, 1.0)]
    assert sum(parts, Agreement()) == Agreement(5, 1, 15, 1, 4, 0.2, 0.99)


@pytest.mark.parametrize(("option", "least"), [("--rows", 1), ("--seed", 0)])
def test_an_audit_of_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, option: str, least: int
) -> None:
    monkeypatch.setattr("sys.argv", ["audit", str(FACES), option, str(least - 1)])
    with pytest.raises(InputError, match=rf"{option} {least - 1}: expected at least {least}"):
        main()


def test_what_does_not_agree_is_named_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict({FACES: Agreement(8), TEACHER: Agreement(8, other_outcome=1)}) == 1
    said = capsys.readouterr()
    assert said.out == "" and f"1 of 2 do not agree; next: facestill check {TEACHER}," in said.err


def test_the_command_writes_its_figures(
    sharded: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.audit.load_params", lambda: sharded)
    arguments = ["audit", str(FACES), str(TEACHER), "--rows", "8", "--json", "audit.json"]
    monkeypatch.setattr("sys.argv", [*arguments, "--workers", "1"])
    assert main() == 0
    said = capsys.readouterr().out
    assert said.count("agrees on 8 rows") == 2 and said.endswith("\n2 of 2 agree\n")
    assert '"holds": true' in Path("audit.json").read_text()


@pytest.mark.parametrize("words", [["--rows", "0"], ["--rows", "-1"], ["--seed", "-1"]])
def test_a_draw_of_nothing_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["audit", "data/pool/faces.zarr", *words])
    with pytest.raises(InputError, match=f"{words[0]} {words[1]}: expected at least"):
        main()
