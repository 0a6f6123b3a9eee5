"""Neighbours as a slow search finds them, in one order on any number of threads."""

from __future__ import annotations

from functools import partial

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrays import neighbours
from pipeline.arrays.neighbours import disagreement, index_of, nearest, unit_rows
from tests import references


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def lattice(count: int, seed: int = 0) -> np.ndarray:
    """Rows of small whole numbers: many are equal or equally far, and distances are exact."""
    return np.random.default_rng(seed).integers(0, 3, (count, 3)).astype(np.float32)


@pytest.fixture
def inverted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search is by an inverted file."""
    monkeypatch.setattr(neighbours, "index_of", partial(index_of, flat_rows=0))


class TestNearest:
    @given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 12), st.integers(0, 99))
    def test_equals_its_slow_twin(self, count: int, queries: int, wanted: int, seed: int) -> None:
        base, asked = rows(count, 5, seed), rows(queries, 5, seed + 1)
        distances, hits = nearest(base, asked, wanted)
        assert hits.shape == distances.shape == (queries, min(wanted, count))
        for query, row, far in zip(asked, hits, distances, strict=True):
            assert row.tolist() == references.nearest(base, query, wanted)
            np.testing.assert_allclose(far, ((base[row] - query) ** 2).sum(axis=1), atol=1e-4)

    @pytest.mark.parametrize("queries", [10, 60])  # FAISS has a way for few and one for many
    def test_ties_are_in_the_order_of_rows(self, queries: int) -> None:
        base = lattice(40)
        _, hits = nearest(base, lattice(queries, 1), len(base))
        for query, row in zip(lattice(queries, 1), hits, strict=True):
            assert row.tolist() == references.nearest(base, query, len(base))

    def test_blocks_of_queries_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        base, asked = rows(300, 8), rows(200, 8, 1)
        at_once = nearest(base, asked, 5)[1]
        monkeypatch.setattr(neighbours, "QUERIES", 64)
        assert np.array_equal(nearest(base, asked, 5)[1], at_once)

    @pytest.mark.parametrize("flat_rows", [0, 1 << 20])
    def test_number_of_threads_changes_no_bit(
        self, flat_rows: int, faiss_threads: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(neighbours, "index_of", partial(index_of, flat_rows=flat_rows))
        base, found = rows(4000, 24), []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(nearest(base, base[:500], 10))
        for one, other in zip(*found, strict=True):
            assert np.array_equal(one, other)


class TestInvertedFile:
    def test_is_for_many_rows_only(self) -> None:
        base = rows(300, 4)
        assert isinstance(index_of(base, flat_rows=300), faiss.IndexFlat)
        assert isinstance(index_of(base, flat_rows=299), faiss.IndexIVFFlat)

    def test_finds_nearly_all_that_an_exact_search_finds(self, inverted: None) -> None:
        rng = np.random.default_rng(0)
        base = (rows(40, 16)[rng.integers(0, 40, 6000)] + 0.5 * rows(6000, 16, 1)).astype(
            np.float32
        )
        found = nearest(base, base[:400], 10)[1]
        exact = index_of(base).search(base[:400], 10)[1]
        shared = [len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]
        assert np.mean(shared) / 10 > 0.95

    def test_finds_the_same_again(self, inverted: None) -> None:
        base = rows(3000, 16)
        one, other = (nearest(base, base[:100], 10) for _ in range(2))
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])

    def test_what_it_does_not_find_is_infinitely_far(
        self, inverted: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(neighbours, "PROBED", 1)
        base = rows(400, 4)
        distances, hits = nearest(base, base[:50], 400)
        assert (hits < 0).any()
        assert np.array_equal(np.isinf(distances), hits < 0)
        assert (np.diff(distances.clip(max=1e9), axis=1) >= 0).all()


class TestDisagreement:
    @given(st.integers(2, 25), st.integers(1, 12), st.integers(0, 99))
    def test_equals_its_slow_twin(self, count: int, wanted: int, seed: int) -> None:
        left, right = rows(count, 6, seed), rows(count, 4, seed + 1)
        found = disagreement(left, right, wanted)
        np.testing.assert_allclose(found, references.disagreement(left, right, wanted), atol=1e-6)

    def test_networks_that_agree_have_none(self) -> None:
        left = rows(80, 6)
        turned = left @ np.linalg.qr(rows(6, 6, 2))[0]
        assert disagreement(left, turned, 5).max() == 0

    def test_networks_that_do_not_share_only_chance(self) -> None:
        found = disagreement(rows(500, 6), rows(500, 6, 1), 10)
        assert found.mean() == pytest.approx(1 - 10 / 499, abs=0.01)

    @pytest.mark.parametrize("copies", [2, 12, 13])
    def test_twins_may_hide_a_face_from_itself(self, copies: int) -> None:
        """More equal rows than are asked for: the face itself may not be among its hits."""
        left = np.concatenate([np.repeat(rows(1, 6), copies, axis=0), rows(20, 6, 1)])
        found = disagreement(left, left, 10)
        assert found.shape == (copies + 20,) and found.max() == 0

    @pytest.mark.parametrize("count", [0, 1])
    def test_without_others_there_is_none(self, count: int) -> None:
        assert disagreement(rows(count, 6), rows(count, 4), 10).tolist() == [0.0] * count

    def test_neighbours_that_an_inverted_file_missed_are_not_shared(
        self, inverted: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(neighbours, "PROBED", 1)
        found = disagreement(rows(400, 4), rows(400, 4, 1), 100)
        assert found.min() > 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_get_length_one_in_their_dtype_and_none_stays_none(dtype: type) -> None:
    rows = np.array([[[3.0, 4.0], [0.0, 0.0]], [[-1e-6, 0.0], [5.0, 12.0]]], dtype)
    found = unit_rows(rows)
    assert found.dtype == dtype
    expected = [[[0.6, 0.8], [0.0, 0.0]], [[-1.0, 0.0], [5 / 13, 12 / 13]]]
    assert np.allclose(found, expected, rtol=1e-6, atol=0.0)
