"""Latents stay in the generator's shell, near-duplicates go, and a collapse is an error."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core.errors import InputError
from pipeline.mining.guards import (
    Drift,
    check_not_collapsed,
    far_enough,
    measure_drift,
    within_shell,
)
from tests import references
from tests.pipeline.mining.toys import SETTINGS


def normal(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width))


class TestShell:
    def test_holds_all_but_the_tails_of_a_standard_normal(self) -> None:
        latents = normal(200_000, 4)
        kept = within_shell(latents)
        moved = (kept != latents).any(axis=1)
        norms = np.linalg.norm(kept, axis=1)
        # The bounds are the quantiles, counted: one in a thousand lies beyond either.
        low, high = np.quantile(np.linalg.norm(latents, axis=1), [0.001, 0.999])
        assert moved.mean() == pytest.approx(0.002, abs=0.0005)
        assert norms.min() == pytest.approx(low, rel=0.05)
        assert norms.max() == pytest.approx(high, rel=0.05)

    @given(st.floats(1e-3, 1e3), st.integers(2, 60))
    def test_changes_lengths_and_no_directions(self, length: float, width: int) -> None:
        latents = normal(5, width)
        kept = within_shell(latents * length)
        directions = [
            rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (latents, kept)
        ]
        np.testing.assert_allclose(*directions, atol=1e-9)
        np.testing.assert_allclose(within_shell(kept), kept)

    def test_a_latent_without_direction_does_no_harm(self) -> None:
        assert np.array_equal(within_shell(np.zeros((1, 4))), np.zeros((1, 4)))


class TestFarEnough:
    @given(
        st.integers(1, 12), st.integers(0, 40), st.integers(1, 3), st.floats(0.0, 1.0),
        st.integers(0, 999),
    )  # fmt: skip
    def test_equals_its_slow_twin(
        self, num_pool: int, count: int, width: int, least: float, seed: int
    ) -> None:
        rows = normal(num_pool + count, width, seed).astype(np.float32)
        rows[num_pool + 1 :: 3] = rows[num_pool : len(rows) - 1 : 3]  # some repeat the one before
        pool, children = rows[:num_pool], rows[num_pool:]
        scale = np.linspace(0.5, 2.0, width)
        gaps = [np.linalg.norm((a - b) / scale) for a in rows for b in rows]
        if (abs(np.array(gaps) / np.sqrt(2 * width) - least) < 1e-4).any():
            return  # on the threshold float32 may go either way
        found = far_enough(children, pool, least, scale)
        assert found.tolist() == references.far_enough(children, pool, least, scale)

    @pytest.mark.parametrize("copies", [2, 8, 9, 60])
    def test_of_equal_children_the_first_stays(self, copies: int) -> None:
        pool, child = normal(30, 6), normal(1, 6, seed=9)
        kept = far_enough(np.repeat(child, copies, axis=0), pool, 0.05, np.ones(6))
        assert kept.tolist() == [True] + [False] * (copies - 1)

    def test_a_child_at_its_parent_goes(self) -> None:
        pool = normal(30, 6)
        children = np.concatenate([pool[3:4], pool[3:4] + 0.3, pool[7:8] + 1e-3])
        assert far_enough(children, pool, 0.05, np.ones(6)).tolist() == [False, True, False]

    def test_a_distance_is_in_units_of_independent_latents(self) -> None:
        pool, children = normal(1, 2000), normal(200, 2000, seed=1)
        assert far_enough(children, pool, 0.9, np.ones(2000)).all()
        assert far_enough(children, pool, 1.1, np.ones(2000)).sum() == 0

    def test_far_from_the_origin_it_is_as_exact(self) -> None:
        """Latents in w lie far from it, in units of their spread."""
        pool = normal(50, 6) * 0.01
        children = np.concatenate([pool[:5] + 1e-6, normal(20, 6, seed=1) * 0.01])
        scale = np.full(6, 0.01)
        at_origin = far_enough(children, pool, 0.05, scale)
        assert (
            far_enough(children + 300.0, pool + 300.0, 0.05, scale).tolist() == at_origin.tolist()
        )
        assert not at_origin[:5].any() and at_origin[5:].any()

    def test_no_distance_asked_for_keeps_all(self) -> None:
        pool = normal(5, 3)
        assert far_enough(pool, pool, 0.0, np.ones(3)).all()

    def test_number_of_threads_does_not_matter(self, faiss_threads: None) -> None:
        pool, children = normal(2000, 20), normal(500, 20, seed=1)
        found = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(far_enough(children, pool, 0.6, np.ones(20)))
        assert np.array_equal(*found)
        assert 0 < found[0].sum() < 500


class TestDrift:
    def test_by_hand(self) -> None:
        pool = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        mined = np.array([[1.0, 0.0], [3.0, 0.0]])
        # variances: pool 2/3 + 2/3, mined 2 + 0; means 2 apart
        found = measure_drift(mined, pool, np.array([4, 4]), np.array([1, 2]))
        assert found.spread == pytest.approx(np.sqrt(2.0 / (4 / 3)))
        assert found.shift == pytest.approx(2.0 / np.sqrt(4 / 3))
        assert (found.effective_parents, found.effective_regions) == (1.0, 2.0)

    def test_effective_numbers_are_inverse_simpson_indices(self) -> None:
        parents = np.array([1, 1, 1, 2])
        found = measure_drift(normal(4, 2), normal(9, 2), parents, np.array([7, 7, 8, 9]))
        assert found.effective_parents == pytest.approx(1 / (0.75**2 + 0.25**2))
        assert found.effective_regions == pytest.approx(1 / (0.5**2 + 2 * 0.25**2))

    @pytest.mark.parametrize("count", [2, 3, 5000])
    def test_independent_draws_have_spread_one(self, count: int) -> None:
        pool, rows = normal(5000, 30), np.zeros(count, int)
        squared = [
            measure_drift(normal(count, 30, seed), pool, rows, rows).spread ** 2
            for seed in range(1, 40)
        ]
        assert np.mean(squared) == pytest.approx(1.0, abs=0.12)

    def test_independent_draws_have_no_shift(self) -> None:
        rows = np.zeros(5000, int)
        found = measure_drift(normal(5000, 30, 1), normal(5000, 30), rows, rows)
        assert found.shift < 0.05

    @pytest.mark.parametrize("count", [0, 1])
    def test_one_face_is_no_collapse(self, count: int) -> None:
        rows = np.zeros(count, int)
        found = measure_drift(normal(count, 3, 1), normal(50, 3), rows, rows)
        assert found == Drift(1.0, 0.0, float(count), float(count))
        check_not_collapsed(found, SETTINGS)


def test_a_collapse_is_refused_with_what_to_do() -> None:
    settings = replace(SETTINGS, least_spread=0.7)
    check_not_collapsed(Drift(0.7, 0.0, 9.0, 9.0), settings)
    with pytest.raises(
        InputError, match=r"collapsed: .* 0\.69 times .*least_spread asks for 0\.7;"
    ):
        check_not_collapsed(Drift(0.69, 0.0, 9.0, 9.0), settings)
