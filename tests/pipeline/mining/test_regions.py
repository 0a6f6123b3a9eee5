"""Regions are found alike by any number of threads; which are hard is no matter of luck."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from manifests.core.errors import InputError
from pipeline.mining import regions
from pipeline.mining.regions import (
    assign,
    discoveries,
    find_regions,
    measure_regions,
    worse_than_the_rest,
)
from tests import references
from tests.pipeline.mining.toys import SETTINGS, unit

FACES = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 5)), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((600, 16)))


def columns(faces: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    gap, region = (np.array(column) for column in zip(*faces, strict=True))
    return gap.astype(np.float64), region.astype(np.int32)


class TestFinding:
    @pytest.mark.parametrize("points", [1000, 10])
    def test_number_of_threads_changes_no_bit(
        self, embeddings: np.ndarray, faiss_threads: None, points: int
    ) -> None:
        found = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(find_regions(embeddings, 12, seed=3, points=points))
        assert np.array_equal(*found)

    def test_centroids_are_units(self, embeddings: np.ndarray) -> None:
        norms = np.linalg.norm(find_regions(embeddings, 12, seed=3, points=1000), axis=1)
        np.testing.assert_allclose(norms, 1.0, atol=1e-5)

    def test_clusters_that_are_there_are_found(self) -> None:
        rng = np.random.default_rng(1)
        centres = unit(rng.standard_normal((5, 16)))
        home = rng.integers(0, 5, 400)
        rows = unit(centres[home] + 0.05 * rng.standard_normal((400, 16)))
        found = assign(rows, find_regions(rows, 5, seed=3, points=1000))
        assert len(set(zip(home, found, strict=True))) == 5

    def test_points_per_region_bounds_what_is_looked_at(self, embeddings: np.ndarray) -> None:
        """Where there are more, a seeded sample; where there are fewer, the bound is no matter."""
        few, as_few, other, all_, more = (
            find_regions(embeddings, 12, seed=seed, points=points)
            for points, seed in ((10, 3), (10, 3), (10, 4), (50, 3), (1000, 3))
        )
        assert np.array_equal(few, as_few)
        assert np.array_equal(all_, more)
        assert not np.array_equal(few, all_) and not np.array_equal(few, other)

    def test_as_many_regions_as_faces_are_the_faces(self, embeddings: np.ndarray) -> None:
        found = assign(embeddings[:7], find_regions(embeddings[:7], 7, seed=3, points=9))
        assert sorted(found.tolist()) == list(range(7))

    def test_fewer_faces_than_regions_are_refused(self, embeddings: np.ndarray) -> None:
        with pytest.raises(
            InputError, match=r"12 regions of 11 usable pool faces; lower mine\.reg"
        ):
            find_regions(embeddings[:11], 12, seed=3, points=1000)


class TestAssigning:
    @pytest.mark.parametrize("rows", [7, 64, 1 << 16])
    def test_each_face_goes_to_the_nearest(
        self, embeddings: np.ndarray, rows: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(regions, "ROWS", rows)
        centroids = find_regions(embeddings, 12, seed=3, points=1000)
        assert np.array_equal(assign(embeddings, centroids), (embeddings @ centroids.T).argmax(1))

    def test_no_faces_go_nowhere(self, embeddings: np.ndarray) -> None:
        assert assign(embeddings[:0], embeddings[:3]).shape == (0,)


class TestMeasuring:
    @given(FACES, st.integers(0, 20))
    def test_equals_its_slow_twin(self, faces: list[tuple[float, int]], shrinkage: int) -> None:
        gap, region = columns(faces)
        found = measure_regions(gap, region, replace(SETTINGS, shrinkage=float(shrinkage)), 6)
        means, shrunken, halves = references.regions(gap, region, 6, shrinkage)
        np.testing.assert_allclose([r.mean_gap for r in found], means, atol=1e-9)
        np.testing.assert_allclose([r.shrunken_gap for r in found], shrunken, atol=1e-9)
        bounds = np.array([r.ci95 for r in found])
        np.testing.assert_allclose(bounds.mean(axis=1), shrunken, atol=1e-9)
        np.testing.assert_allclose(np.diff(bounds)[:, 0] / 2, halves, rtol=1e-4, atol=1e-9)
        assert [r.num_faces for r in found] == np.bincount(region, minlength=6).tolist()

    @given(FACES)
    def test_hard_regions_are_those_discovered(self, faces: list[tuple[float, int]]) -> None:
        gap, region = columns(faces)
        found = measure_regions(gap, region, SETTINGS, 6)
        p_values = [r.p_value for r in found]
        assert [r.hard for r in found] == references.discoveries(p_values, 0.1)

    def test_two_unlucky_faces_do_not_make_a_region_hard(self) -> None:
        rng = np.random.default_rng(0)
        gap = np.concatenate([[1.0, 0.4], rng.normal(0.6, 0.1, 100), rng.normal(0.2, 0.1, 100)])
        region = np.array([0] * 2 + [1] * 100 + [2] * 100)
        found = measure_regions(gap, region, replace(SETTINGS, shrinkage=16.0), 3)
        assert [r.hard for r in found] == [False, True, False]

    def test_a_region_without_faces_has_the_overall_gap(self) -> None:
        for shrinkage in (0.0, 4.0):
            settings = replace(SETTINGS, shrinkage=shrinkage)
            found = measure_regions(np.array([0.2, 0.4]), np.array([0, 1]), settings, 3)
            assert found[2].shrunken_gap == pytest.approx(0.3)
            assert (found[2].num_faces, found[2].p_value, found[2].hard) == (0, 1.0, False)

    def test_no_faces_make_no_region_hard(self) -> None:
        found = measure_regions(np.empty(0), np.empty(0, np.int32), SETTINGS, 3)
        assert [(r.num_faces, r.mean_gap, r.hard) for r in found] == [(0, 0.0, False)] * 3

    @given(st.floats(0.0, 2.0, width=32), st.lists(st.integers(0, 5), min_size=1, max_size=90))
    def test_equal_gaps_make_no_region_hard(self, gap: float, homes: list[int]) -> None:
        rows = np.full(len(homes), gap)
        found = measure_regions(rows, np.array(homes), SETTINGS, 6)
        assert not any(region.hard for region in found)
        assert {region.p_value for region in found} == {1.0}

    def test_the_interval_holds_the_truth_as_often_as_it_says(self) -> None:
        """Regions whose own means vary as much as shrinkage by 25 faces supposes."""
        rng, held = np.random.default_rng(0), []
        settings = replace(SETTINGS, shrinkage=25.0)
        region = np.repeat(np.arange(20), 25)
        for _ in range(60):
            truth = rng.normal(0.4, 0.1 / 5, 20)
            found = measure_regions(rng.normal(truth[region], 0.1), region, settings, 20)
            held += [r.ci95[0] <= t <= r.ci95[1] for r, t in zip(found, truth, strict=True)]
        assert np.mean(held) == pytest.approx(0.95, abs=0.02)


class TestSignificance:
    @given(
        st.lists(st.tuples(st.floats(0, 2, width=16), st.integers(0, 2)), min_size=1, max_size=30)
    )
    def test_p_values_are_welchs(self, faces: list[tuple[float, int]]) -> None:
        gap, region = columns(faces)
        found = worse_than_the_rest(gap, region, 3)
        for number in range(3):
            ours, others = gap[region == number], gap[region != number]
            testable = min(len(ours), len(others)) >= 2 and max(np.ptp(ours), np.ptp(others)) > 0
            wanted = references.welch_p_value(ours, others) if testable else 1.0
            assert found[number] == pytest.approx(wanted, rel=1e-6, abs=1e-12)

    def test_p_values_are_the_share_of_shuffles_that_do_as_well(self) -> None:
        rng = np.random.default_rng(2)
        gap, region = rng.gamma(4.0, 0.1, 200), np.repeat([0, 1], [60, 140])
        gap[:60] += 0.03
        shuffled = stats.permutation_test(
            (gap[:60], gap[60:]), lambda a, b: a.mean() - b.mean(), alternative="greater",
            n_resamples=4000, rng=0,
        )  # fmt: skip
        assert 0.005 < shuffled.pvalue < 0.5
        found = worse_than_the_rest(gap, region, 2)[0]
        assert found == pytest.approx(shuffled.pvalue, abs=0.02)

    def test_is_of_being_worse_and_not_of_being_unlike(self) -> None:
        rng = np.random.default_rng(0)
        gap = np.concatenate([rng.normal(0.2, 0.05, 50), rng.normal(0.6, 0.05, 50)])
        low, high = worse_than_the_rest(gap, np.repeat([0, 1], 50), 2)
        assert low > 0.999 and high < 0.001

    def test_where_nothing_is_hard_few_are_called_so(self) -> None:
        """Every call is a false one here, so that the rate bounds how often there is any."""
        rng = np.random.default_rng(3)
        settings = replace(SETTINGS, false_discovery_rate=0.1)
        region = np.arange(320) % 16
        found = [
            any(r.hard for r in measure_regions(rng.normal(0.4, 0.1, 320), region, settings, 16))
            for _ in range(200)
        ]
        assert np.mean(found) < 0.16  # three standard errors above

    def test_discoveries_by_hand(self) -> None:
        # Benjamini and Hochberg (1995), section 3.1: at 0.05 the four smallest of 15 are rejected.
        p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ]  # fmt: skip
        assert discoveries(np.array(p_values), 0.05).sum() == 4
        assert discoveries(np.array(p_values[::-1]), 0.05).tolist() == [False] * 11 + [True] * 4

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 1.0))
    def test_discoveries_equal_their_slow_twin(self, p_values: list[float], rate: float) -> None:
        found = discoveries(np.array(p_values), rate)
        ranked = np.sort(p_values) * len(p_values) / np.arange(1, len(p_values) + 1)
        if (abs(ranked - rate) < 1e-9).any():
            return
        assert found.tolist() == references.discoveries(p_values, rate)
