"""Intervals: published values, what resampling means, and coverage of a known truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.intervals import (
    PairSubjects,
    at_least,
    identity_bootstrap,
    mcnemar,
    pair_subjects,
    wilson,
)
from manifests.core.errors import InputError
from tests.references import repeated_pairs
from tests.results import ACCURACY, SHIFT, sample


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998, Table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_of_no_trials_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_subjects_follow_the_rule_and_the_genuine_pairs() -> None:
    left, right = ["a/1", "b/1", "x"], ["a/2", "a/1", "y"]
    same = np.array([True, False, True])
    folders = pair_subjects(left[:2], right[:2], same[:2], "folder")
    assert folders.count == 2
    assert folders.left[0] == folders.right[0] == folders.right[1] != folders.left[1]
    images = pair_subjects(left, right, same, "image")
    assert images.count == 3  # {a/1, a/2}, {b/1}, {x, y}: genuine pairs join their images
    assert images.left[2] == images.right[2] and images.left[0] == images.right[1]
    with pytest.raises(InputError, match="subject rule"):
        pair_subjects(left, right, same, "file")


@given(st.integers(0, 10_000))
def test_weights_are_the_numbers_of_repeated_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(4, size=(2, 12))
    multiplicity = rng.integers(4, size=4)
    rows = repeated_pairs(left, right, multiplicity)
    weights = PairSubjects(left, right, 4).weights(multiplicity)
    assert weights.tolist() == np.bincount(rows, minlength=12).tolist()


def test_the_bootstrap_is_a_function_of_its_seed() -> None:
    subjects, correct = decided(0, people=20, genuine_each=2, impostors=40)
    one, again, other = (
        identity_bootstrap(share(correct), subjects, resamples=30, seed=seed).draws
        for seed in (1, 1, 2)
    )
    assert (one == again).all() and (one != other).any()


def test_a_bootstrap_over_single_pairs_has_the_binomial_spread() -> None:
    each = np.arange(400)
    correct = each < 300
    found = identity_bootstrap(share(correct), PairSubjects(each, each, 400), resamples=2000)
    assert found.point[0] == 0.75
    assert found.draws.std() == pytest.approx(np.sqrt(0.75 * 0.25 / 400), rel=0.06)


def test_noise_of_impostor_pairs_is_counted_once() -> None:
    """Pairs that share nobody are independent however they are resampled: two people each."""
    rows = np.arange(1000)
    correct = np.random.default_rng(0).random(1000) < 0.8
    subjects = PairSubjects(rows, rows + 1000, 2000)
    found = identity_bootstrap(share(correct), subjects, resamples=4000)
    binomial = np.sqrt(correct.mean() * (1 - correct.mean()) / 1000)
    assert found.draws.std() == pytest.approx(binomial, rel=0.1)  # uncorrected: 1.73 times as much


def test_very_many_pairs_are_resampled_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.scoring.intervals.MOST_WEIGHTS", 20_000)
    rows = np.zeros(50, int)

    def nothing(weights: np.ndarray) -> np.ndarray:
        return np.zeros(1)

    found = identity_bootstrap(nothing, PairSubjects(rows, rows, 1))
    assert len(found.draws) == 400  # of 1,000


def test_few_subjects_widen_the_interval() -> None:
    """Expanded percentiles for n = 10: Phi(-sqrt(10/9) * 2.2622) = 0.00855; many: 0.025."""
    few, many = (PairSubjects(np.arange(n), np.arange(n), n) for n in (10, 10_000))
    tails = [
        identity_bootstrap(share(np.ones(pairs.count, bool)), pairs, resamples=2).tail
        for pairs in (few, many)
    ]
    assert tails == pytest.approx([0.00855, 0.025], abs=5e-5)


def test_unknown_figures_of_a_resample_are_left_out() -> None:
    subjects = PairSubjects(np.array([0, 1]), np.array([0, 1]), 2)

    def ratio(weights: np.ndarray) -> np.ndarray:
        return np.array([weights[0] / weights[1] if weights[1] else np.nan])

    low, high = identity_bootstrap(ratio, subjects, resamples=50).interval(0)
    assert np.isfinite([low, high]).all()


def test_hull_of_two_intervals() -> None:
    assert at_least((1.0, 1.0), (0.9, 0.99)) == (0.9, 1.0)


def test_mcnemar_by_hand() -> None:
    a = np.array([True] * 5 + [False] + [True] * 4)
    b = np.array([False] * 5 + [True] + [True] * 4)
    found = mcnemar(a, b)  # 2 · (C(6,0) + C(6,1)) / 2^6
    assert (found.only_a, found.only_b) == (5, 1)
    assert found.p_value == pytest.approx(14 / 64)
    assert mcnemar(a, a).p_value == 1.0


def decided(seed: int, **design: Any) -> tuple[PairSubjects, np.ndarray]:
    """A sample's subjects, and whether each pair is decided rightly."""
    subjects, same, scores = sample(seed, **design)
    return subjects, (scores > 0) == same


def share(correct: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: np.array([weights[correct].sum() / weights.sum()])


def coverage(shift: float, trials: int = 150) -> tuple[float, float]:
    """How often 95 % intervals hold the truth: Wilson's, and those over identities."""
    hits = np.zeros(2)
    for seed in range(trials):
        subjects, correct = decided(seed, people=150, genuine_each=4, impostors=600, shift=shift)
        own = wilson(int(correct.sum()), len(correct))
        found = identity_bootstrap(share(correct), subjects, resamples=160, seed=seed)
        for place, (low, high) in enumerate((own, at_least(found.interval(0), own))):
            hits[place] += low <= ACCURACY <= high
    return float(hits[0] / trials), float(hits[1] / trials)


def test_wilson_covers_where_pairs_are_independent() -> None:
    plain, identities = coverage(shift=0.0)
    assert 0.91 <= plain <= 0.99
    assert 0.91 <= identities <= 1.0


def test_only_intervals_over_identities_cover_where_people_differ() -> None:
    plain, identities = coverage(shift=SHIFT)
    assert plain < 0.85
    assert 0.91 <= identities <= 0.99
