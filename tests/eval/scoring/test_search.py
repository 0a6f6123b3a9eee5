"""Closeness against looking at every pair; shares against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scoring import search
from eval.scoring.intervals import wilson
from eval.scoring.search import (
    SLACK,
    Closest,
    closest,
    distribution,
    genuine_scores,
    share,
)
from eval.scoring.similarity import prepared
from tests import references

METRICS = ["cosine", "euclidean"]


def single(rows: np.ndarray, metric: str) -> np.ndarray:
    """Embeddings as they are searched: prepared, in single precision."""
    return prepared(rows.astype(np.float32), metric)


def searched(
    synthetic: np.ndarray, real: np.ndarray, metric: str, num_pairs: int, block: int, base: int
) -> Closest:
    rows = single(synthetic, metric)
    numbers = 3 * np.arange(len(rows))
    blocks = ((numbers[at : at + block], rows[at : at + block])
              for at in range(0, len(rows), block))  # fmt: skip
    return closest(blocks, single(real, metric), metric, num_pairs, base_rows=base)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(0, 30), st.integers(1, 20)),
    num_pairs=st.integers(1, 60),
    block=st.integers(1, 12),
    base=st.integers(1, 9),
    metric=st.sampled_from(METRICS),
)
def test_search_is_looking_at_every_pair(
    seed: int, shape: tuple[int, int], num_pairs: int, block: int, base: int, metric: str
) -> None:
    rng = np.random.default_rng(seed)
    # Few values a coordinate: many pairs are exactly as alike.
    synthetic, real = (rng.integers(-1, 2, (rows, 3)) + np.eye(3)[0] * 2 for rows in shape)
    found = searched(synthetic, real, metric, num_pairs, block, base)
    best, top, covered = references.closest_pairs(
        single(synthetic, metric), single(real, metric), metric, num_pairs
    )
    assert found.best.tolist() == [score for score, _ in best]
    assert found.best_real.tolist() == [row for _, row in best]
    assert list(
        zip(found.top.score.tolist(), found.top.face.tolist(), found.top.real.tolist(), strict=True)
    ) == [(score, 3 * face, row) for score, face, row in top]
    assert found.covered.tolist() == covered


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_change_nothing_among_lifelike_embeddings(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    synthetic, real = rng.normal(0.5, 0.1, (300, 128)), rng.normal(0.5, 0.1, (90, 128))
    whole = searched(synthetic, real, metric, 50, 300, 90)
    monkeypatch.setattr(search, "QUERIES", 23)
    parts = searched(synthetic, real, metric, 50, 41, 17)
    for name in ("best", "best_real", "covered"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    np.testing.assert_array_equal(whole.top.face, parts.top.face)
    np.testing.assert_array_equal(whole.top.real, parts.top.real)


def test_a_copied_face_leads_the_list() -> None:
    rng = np.random.default_rng(2)
    synthetic, real = rng.standard_normal((50, 16)), rng.standard_normal((20, 16))
    synthetic[31] = real[7]
    found = searched(synthetic, real, "cosine", 3, 10, 6)
    assert (found.top.face[0], found.top.real[0]) == (3 * 31, 7)
    assert found.top.score[0] == pytest.approx(1.0) and found.best_real[31] == 7
    assert np.argmax(found.covered) == 7


def test_one_near_face_may_fill_the_whole_list() -> None:
    """Each face's best match alone would not do: all of the top may be one face's."""
    real = np.array([[1.0, 0.001 * row] for row in range(60)])
    synthetic = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    found = searched(synthetic, real, "cosine", 40, 2, 25)
    assert SLACK < 40 and set(found.top.face.tolist()) == {3}
    assert found.top.real.tolist() == list(range(40))


class TestShares:
    def test_faces_on_their_own_have_wilsons_interval_at_least(self) -> None:
        hits = np.zeros(400, bool)
        hits[:10] = True
        found = share(hits, np.arange(400))
        low, high = wilson(10, 400)
        assert (found.count, found.of, found.value) == (10, 400, 0.025)
        assert found.ci95[0] <= low and found.ci95[1] >= high
        assert found.ci95 == pytest.approx((low, high), abs=0.005)

    def test_faces_made_together_are_one_piece_of_evidence(self) -> None:
        hits, group = np.zeros(400, bool), np.repeat(np.arange(20), 20)
        hits[:20] = True
        together, apart = share(hits, group), share(hits, np.arange(400))
        assert together.value == apart.value == 0.05
        assert together.ci95[1] - together.ci95[0] > 2 * (apart.ci95[1] - apart.ci95[0])

    def test_none_and_all_still_have_an_interval(self) -> None:
        assert share(np.zeros(50, bool), np.arange(50)).ci95 == pytest.approx(wilson(0, 50))
        assert share(np.ones(50, bool), np.arange(50)).ci95 == pytest.approx(wilson(50, 50))

    def test_it_is_the_same_every_time(self) -> None:
        hits = np.random.default_rng(0).random(90) < 0.3
        assert share(hits, np.arange(90) // 3) == share(hits, np.arange(90) // 3)


@pytest.mark.parametrize("metric", METRICS)
def test_genuine_scores_are_those_of_pairs_of_one_person(metric: str) -> None:
    rng = np.random.default_rng(3)
    rows, subject = single(rng.standard_normal((12, 4)), metric), rng.integers(0, 4, 12)
    wanted = [
        references.similarity(rows[a].astype(float), rows[b].astype(float), metric)
        for a in range(12) for b in range(a) if subject[a] == subject[b]
    ]  # fmt: skip
    np.testing.assert_allclose(
        np.sort(genuine_scores(rows, subject, metric)), np.sort(wanted), atol=1e-12
    )


def test_distribution_is_worked_out_by_hand() -> None:
    found = distribution(np.arange(1001.0))
    assert found == {"mean": 500.0, "p50": 500.0, "p99": 990.0, "p99.9": 999.0, "max": 1000.0}
