"""Identification and all pairs, block by block, against a matrix held whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scoring.allpairs import all_pairs_figures
from eval.scoring.ranking import (
    Identification,
    average_precisions,
    identify,
    nearest,
    precision_figures,
    rank_figures,
    rank_k,
    tpir_at_fpir,
)
from eval.scoring.roc import roc
from eval.scoring.similarity import Faces, score_blocks
from tests import references

METRICS = ("cosine", "euclidean")
SIZES = st.integers(1, 9)


def faces(seed: int, count: int = 20, people: int = 6, *, ties: bool = False) -> Faces:
    """Unit rows in three dimensions; with `ties` they are few and exact."""
    rng = np.random.default_rng(seed)
    rows = np.eye(3)[rng.integers(3, size=count)] if ties else rng.standard_normal((count, 3))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Faces(rows, rng.integers(people, size=count))


@pytest.mark.parametrize("metric", METRICS)
@given(seed=st.integers(0, 10_000), block=SIZES)
def test_blocks_hold_every_score_once(metric: str, seed: int, block: int) -> None:
    probes, gallery = faces(seed, 7).embeddings, faces(seed + 1, 12).embeddings
    found = np.full((7, 12), np.nan)
    for part in score_blocks(probes, gallery, metric, block=block):
        height, width = part.scores.shape
        assert max(height, width) <= block
        place = slice(part.row, part.row + height), slice(part.column, part.column + width)
        assert np.isnan(found[place]).all()
        found[place] = part.scores
    slow = [[references.similarity(p, g, metric) for g in gallery] for p in probes]
    np.testing.assert_allclose(found, slow, atol=1e-7)


@pytest.mark.parametrize("metric", METRICS)
@given(seed=st.integers(0, 10_000), block=SIZES, ties=st.booleans())
def test_precision_is_what_walking_down_the_gallery_gives(
    metric: str, seed: int, block: int, ties: bool
) -> None:
    probes, gallery = faces(seed, 12, ties=ties), faces(seed + 1, 15, ties=ties)
    found = average_precisions(probes, gallery, metric, block=block)
    slow = references.average_precisions(
        probes.embeddings, probes.subject, gallery.embeddings, gallery.subject, metric
    )
    np.testing.assert_allclose(found, slow, atol=1e-12)


def test_precision_is_null_without_a_mate() -> None:
    found = precision_figures(np.full(3, np.nan), np.arange(3))
    assert found == {"mean_average_precision": None, "mean_average_precision_ci95_identity": None}


@pytest.mark.parametrize("metric", METRICS)
@given(seed=st.integers(0, 10_000), block=SIZES, itself=st.booleans(), ties=st.booleans())
def test_ranks_are_what_counting_gives(
    metric: str, seed: int, block: int, itself: bool, ties: bool
) -> None:
    probes = faces(seed, 12, ties=ties)
    gallery = probes if itself else faces(seed + 1, 15, ties=ties)
    found = identify(probes, gallery, metric, itself=itself, block=block)
    slow = references.mate_ranks(
        probes.embeddings, probes.subject, gallery.embeddings, gallery.subject, metric,
        itself=itself,
    )  # fmt: skip
    assert found.rank.tolist() == slow


def test_identification_by_hand() -> None:
    """The first probe's mate comes first, the second's third, the third has none."""
    gallery = Faces(np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), np.array([0, 1, 2]))
    probes = Faces(np.array([[1.0, 0.0], [0.96, 0.28], [0.6, 0.8]]), np.array([0, 2, 7]))
    found = identify(probes, gallery, "cosine")
    assert found.rank.tolist() == [1, 3, 0]
    assert found.mate.tolist() == pytest.approx([1.0, 0.28, -np.inf])
    assert found.other.tolist() == pytest.approx([0.8, 0.96, 0.96])
    assert [rank_k(found, k) for k in (1, 2, 3)] == [0.5, 0.5, 1.0]


def test_a_face_is_not_its_own_mate() -> None:
    same = Faces(np.eye(2), np.array([0, 0]))
    assert identify(same, same, "cosine", itself=True).mate.tolist() == [0.0, 0.0]
    lonely = Faces(np.eye(2), np.array([0, 1]))
    assert identify(lonely, lonely, "cosine", itself=True).rank.tolist() == [0, 0]


def test_rank_intervals_resample_the_probes_people() -> None:
    """Ten people with ten probes each, of whom five are always found and five never: with 100
    probes Wilson's interval is [0.40, 0.60], with ten people it must be far wider."""
    subject = np.repeat(np.arange(11), 10)
    rank = np.where(subject < 5, 1, 7) * (subject < 10)  # the last one has no mate
    found = Identification(np.ones(110), np.zeros(110), rank)
    figures = rank_figures(found, subject, (1, 7), resamples=300)
    assert (figures["rank_1"], figures["rank_7"]) == (0.5, 1.0)
    low, high = figures["rank_1_ci95_identity"]
    assert low < 0.25 and high > 0.75
    low, high = figures["rank_7_ci95_identity"]
    assert (round(low, 3), high) == (0.963, 1.0)  # Wilson's, 100 of 100
    nobody = Identification(np.ones(2), np.zeros(2), np.zeros(2, int))
    none = {"rank_1": None, "rank_1_ci95_identity": None}
    assert rank_figures(nobody, np.arange(2), (1,)) == none


@given(st.integers(0, 10_000))
def test_rates_over_ranks_rise_to_one(seed: int) -> None:
    gallery = faces(seed, 30)
    found = identify(gallery, gallery, "cosine", itself=True)
    curve = [rank_k(found, k) for k in range(1, 31)]
    assert (np.diff(curve) >= 0).all() and curve[-1] == 1.0


def test_open_set_by_hand() -> None:
    """Of 100 strangers ten may find somebody: those above 0.89. Four mated probes: below the
    threshold, not first, and two identified."""
    other = np.concatenate([np.arange(100) / 100, [0.1, 0.99, 0.5, 0.6]])
    mate = np.concatenate([np.full(100, -np.inf), [0.85, 0.95, 0.9, 0.99]])
    rank = np.array([0] * 100 + [1, 2, 1, 1])
    found = tpir_at_fpir(Identification(mate, other, rank), 0.1)
    assert found is not None
    assert (found["value"], found["threshold"]) == (0.5, 0.89)
    assert tpir_at_fpir(Identification(mate, other, rank), 0.01) is None  # too few strangers
    assert tpir_at_fpir(Identification(mate[:100], other[:100], rank[:100]), 0.1) is None


@given(seed=st.integers(0, 10_000), block=SIZES, k=st.integers(1, 8), ties=st.booleans())
def test_neighbours_are_those_of_the_whole_matrix(
    seed: int, block: int, k: int, ties: bool
) -> None:
    rows = faces(seed, 16, ties=ties).embeddings
    found, scores = nearest(rows, rows, "cosine", k, itself=True, block=block)
    assert (np.diff(scores, axis=1) <= 0).all()
    if ties:  # exact scores: ties by number, whatever the blocks
        assert found.tolist() == references.nearest_rows(rows, k)
    else:
        slow = [[rows[a] @ rows[b] for b in best] for a, best in
                enumerate(references.nearest_rows(rows, k))]  # fmt: skip
        np.testing.assert_allclose(scores, slow, atol=1e-12)


def test_a_small_gallery_leaves_places_empty() -> None:
    found, scores = nearest(np.eye(2), np.eye(2), "cosine", 3, itself=True)
    assert found.tolist() == [[1, -1, -1], [0, -1, -1]]
    assert scores[0].tolist() == [0.0, -np.inf, -np.inf]


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), block=st.integers(3, 70), ties=st.booleans())
def test_rates_over_all_pairs_are_those_of_the_pairs(
    metric: str, seed: int, block: int, ties: bool
) -> None:
    set_ = faces(seed, 60, ties=ties)
    upper = np.triu_indices(60, 1)
    parts = list(score_blocks(set_.embeddings, set_.embeddings, metric, block=60))
    scores = parts[0].scores[upper]
    same = set_.subject[upper[0]] == set_.subject[upper[1]]
    found = all_pairs_figures(set_, metric, (0.1, 0.01, 0.001), block=block)
    assert found["tar_at_far_num_pairs"] == 60 * 59 // 2
    curve = roc(scores, same)
    for far in (0.1, 0.01):
        rate = found["tar_at_far"][f"{far:g}"]
        assert rate["threshold"] == pytest.approx(curve.threshold_at(far), abs=1e-7)
        assert rate["value"] == pytest.approx(curve.tar_at(far))
    assert found["tar_at_far"]["0.001"] is None
