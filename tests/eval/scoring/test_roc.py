"""Operating curves against counting; ties, weights, and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.roc import RankedPairs, roc
from tests import references

Pairs = tuple[np.ndarray, np.ndarray]


@st.composite
def scored(draw: st.DrawFn) -> Pairs:
    """Few levels of score: ties within and between the kinds are the rule."""
    count = draw(st.integers(2, 30))
    levels = draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
    kinds = draw(st.lists(st.booleans(), min_size=count - 2, max_size=count - 2))
    return np.array(levels) / 4, np.array([True, False, *kinds])


@given(scored())
def test_points_are_what_counting_gives(pairs: Pairs) -> None:
    curve = roc(*pairs)
    found = np.stack([curve.far, curve.tar, curve.threshold], axis=1)
    np.testing.assert_allclose(found, references.operating_points(*pairs))


@given(scored())
def test_auc_is_the_share_of_couples_in_the_right_order(pairs: Pairs) -> None:
    assert roc(*pairs).auc() == pytest.approx(references.auc(*pairs))


@given(scored(), st.integers(0, 1000))
def test_the_order_of_pairs_is_nothing(pairs: Pairs, seed: int) -> None:
    scores, same = pairs
    mixed = np.random.default_rng(seed).permutation(len(scores))
    one, other = roc(scores, same), roc(scores[mixed], same[mixed])
    for name in ("far", "tar", "threshold"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@given(scored(), st.integers(0, 1000))
def test_a_weight_is_a_number_of_pairs(pairs: Pairs, seed: int) -> None:
    scores, same = pairs
    weights = np.random.default_rng(seed).integers(1, 4, len(scores))
    weighted = RankedPairs.of(scores, same).curve(weights.astype(float))
    repeated = roc(np.repeat(scores, weights), np.repeat(same, weights))
    np.testing.assert_allclose(weighted.far, repeated.far)
    np.testing.assert_allclose(weighted.tar, repeated.tar)
    assert weighted.eer() == pytest.approx(repeated.eer())


@given(scored(), st.floats(0.01, 0.99))
def test_the_chosen_point_is_the_best_that_the_far_allows(pairs: Pairs, far: float) -> None:
    points = references.operating_points(*pairs)
    allowed = [point for point in points if point[0] <= far]
    curve = roc(*pairs)
    assert curve.tar_at(far) == pytest.approx(max(tar for _, tar, _ in allowed))
    assert curve.threshold_at(far) == min(threshold for _, _, threshold in allowed)


def test_a_far_that_floats_cannot_say_still_admits_its_impostors() -> None:
    scores, same = np.arange(101) / 101, np.arange(101) == 100
    assert round(roc(scores, same).far[roc(scores, same).at_far(0.29)] * 100) == 29


@pytest.mark.parametrize("kind", [True, False])
def test_a_kind_without_weight_leaves_no_figure(kind: bool) -> None:
    """As in a resample of few people: left out of intervals, not counted as an error of 0 or 1."""
    same = np.array([True, False, True])
    curve = RankedPairs.of(np.array([3.0, 2.0, 1.0]), same).curve((same != kind).astype(float))
    found = [curve.auc(), curve.eer(), curve.tar_at(0.1), curve.threshold_at(0.1)]
    assert np.isnan(found).all()


def test_equal_error_rate_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.3, 0.2, 0.1])
    same = np.array([True] * 4 + [False] * 4)
    assert roc(scores, same).eer() == pytest.approx(0.25)


def test_equal_error_rate_of_a_tie_lies_on_the_line_through_it() -> None:
    """All pairs alike: from (far 0, tar 0) to (1, 1), where both errors are a half."""
    assert roc(np.zeros(4), np.array([True, False, False, True])).eer() == pytest.approx(0.5)


def test_equal_error_rate_of_separable_and_of_inverted_scores() -> None:
    same = np.array([True, True, False, False])
    assert roc(np.array([4.0, 3.0, 2.0, 1.0]), same).eer() == 0.0
    assert roc(np.array([1.0, 2.0, 3.0, 4.0]), same).eer() == 1.0
