"""Near-duplicates are found like a slow loop finds them; of a cluster the first stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.marks import LOW_QUALITY, NEAR_DUPLICATE, OFF_IDENTITY, Marks
from manifests.settings.params import Params, Screen, load_params
from manifests.stores.rounds import open_round
from pipeline.screen import draw_marks, identity_cosines, near_duplicates, screen_round
from tests import references
from tests.conftest import ROOT
from tests.toys import PASSPORT, make_round, toy_teacher


def unit(count: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(
    st.integers(0, 12), st.integers(0, 30), st.integers(2, 4), st.integers(0, 999),
    st.floats(0.2, 0.99),
)  # fmt: skip
def test_the_same_rows_as_by_a_slow_loop(
    first: int, count: int, width: int, seed: int, least: float
) -> None:
    vectors = unit(first + count, width, seed)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    if (abs(cosines - least) < 1e-5).any():
        return  # on the threshold float32 may go either way
    found = near_duplicates(vectors[:first], vectors[first:], least)
    wanted = references.near_duplicates(vectors, first, least)
    assert {first + row for row, _, _ in found} == wanted
    for row, of, cosine in found:
        assert of < first + row and of not in wanted
        assert cosine == pytest.approx(cosines[first + row, of], abs=1e-5)


def test_blocks_of_queries_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(300, 3, 1)
    at_once = near_duplicates(vectors[:50], vectors[50:], 0.98)
    monkeypatch.setattr("pipeline.screen.QUERIES", 7)
    assert at_once and near_duplicates(vectors[:50], vectors[50:], 0.98) == at_once


def test_cosines_to_an_identity_leave_the_face_itself_out() -> None:
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = identity_cosines(vectors, np.array([0, 0, 0, 5, 7, 7]))
    others = np.array([[0.6, 1.8], [1.0, 1.0], [1.6, 0.8]])
    wanted = (vectors[:3] * others).sum(1) / np.linalg.norm(others, axis=1)
    np.testing.assert_allclose(found, [*wanted, np.nan, -1.0, -1.0])


class TestARound:
    @pytest.fixture
    def params(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
        monkeypatch.chdir(tmp_path)
        params = load_params(ROOT / "params.yaml")
        return replace(params, teacher="toy", screen=Screen(0.99, -0.3, -1.0))

    def repeat(self, name: str, of: str | None = None) -> tuple[int, int]:
        """A round whose last usable face has the embedding of its first, or of `of`'s first."""
        faces, teacher = make_round(name, 40, seed=len(name))
        rows = teacher.embeddings().astype(np.float32)
        usable = np.flatnonzero(faces.ok())
        source = open_round(of, "toy") if of else open_round(name, "toy")
        first = int(np.flatnonzero(source.faces.ok())[0])
        rows[usable[-1]] = source.teacher.embeddings()[first]
        digest = teacher.passport.manifest_digest
        passport = replace(PASSPORT, round=name, manifest_digest=digest)
        toy_teacher(teacher.path, rows, faces_root=faces.root, passport=passport)
        return int(usable[-1]), first

    def test_the_later_face_is_marked_and_names_the_first(self, params: Params) -> None:
        last, first = self.repeat("pool")
        (mark,) = screen_round("pool", [], params).marks
        assert (mark.row, mark.reason) == (last, NEAR_DUPLICATE)
        assert (mark.of_round, mark.of_row) == ("pool", first)

    def test_faces_of_another_round_come_first(self, params: Params) -> None:
        make_round("pool", 40, seed=4)
        last, first = self.repeat("mined-1", of="pool")
        assert screen_round("mined-1", [], params).marks == ()
        (mark,) = screen_round("mined-1", ["pool"], params).marks
        assert (mark.row, mark.of_round, mark.of_row) == (last, "pool", first)

    def test_unsure_detections_are_marked(self, params: Params) -> None:
        make_round("pool", 40, seed=4)  # toys have quality 1
        marks = draw_marks(open_round("pool", "toy"), [], Screen(1.0, 1.5, -1.0))
        assert marks.counts[LOW_QUALITY] == open_round("pool", "toy").faces.passport.num_ok

    def test_faces_unlike_their_identity_are_marked(self, params: Params) -> None:
        identity = np.ma.masked_array(np.arange(40) % 4, np.arange(40) >= 30)
        make_round("identities", 40, seed=4, identity_id=identity)
        files = open_round("identities", "toy")
        ok = files.faces.ok() & (np.arange(40) < 30)
        marks = draw_marks(files, [], Screen(1.0, -1.0, 0.9))
        assert marks.rows([OFF_IDENTITY]).tolist() == np.flatnonzero(ok).tolist()  # random looks
        assert not draw_marks(files, [], Screen(1.0, -1.0, -1.0)).marks

    def test_marks_are_written_for_these_stores(self, params: Params) -> None:
        self.repeat("pool")
        marks = screen_round("pool", [], params)
        files = open_round("pool", "toy")
        roots = {"faces_root": files.faces.root, "teacher_root": files.teacher.root}
        read, _ = Marks.read(layout.marks("pool", "toy"), **roots, num_rows=len(files.faces))
        assert read.rows([NEAR_DUPLICATE]) == marks.rows([NEAR_DUPLICATE])

    def test_an_empty_round_has_no_marks(self, params: Params) -> None:
        make_round("mined-1", 0)
        assert screen_round("mined-1", [], params).marks == ()

    def test_a_round_against_itself_is_refused(self, params: Params) -> None:
        make_round("pool", 40)
        with pytest.raises(InputError, match="and not pool itself"):
            screen_round("pool", ["pool"], params)
