"""Divergences against loops and by hand; what they are when nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.attributes.divergence import (
    SMOOTHING,
    Sample,
    bin_of,
    estimate,
    histogram,
    js_divergence,
    kl_divergence,
    numbered,
    resample,
    sample_of,
    smoothed,
    split,
)
from tests import references

EDGES = [-1.0, 0.0, 0.5, 2.0]
COUNTS = st.lists(st.integers(0, 500), min_size=5, max_size=5)


def alone(counts: list[int] | np.ndarray) -> Sample:
    """A set in which everybody has one face."""
    return Sample(np.eye(len(counts), dtype=np.int64), np.asarray(counts))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@given(st.lists(st.floats(-3, 3, width=32) | st.just(float("nan")) | st.sampled_from(EDGES)))
def test_histogram_counts_every_value_once(values: list[float]) -> None:
    found = histogram(np.array(values, np.float32), EDGES)
    assert found.tolist() == references.histogram(np.array(values, np.float32), EDGES)


def test_an_edge_belongs_to_the_bin_above_it() -> None:
    values = np.array([-1.1, -1.0, 0.0, 2.0, 2.1, np.nan], np.float32)
    assert bin_of(values, EDGES).tolist() == [0, 1, 2, 3, 4, -1]  # but for the last one


@given(COUNTS, COUNTS)
def test_divergences_are_those_of_the_loops(first: list[int], second: list[int]) -> None:
    p, q = smoothed(np.array(first)), smoothed(np.array(second))
    expected = references.kl_divergence(first, second, SMOOTHING)
    assert float(kl_divergence(p, q)) == pytest.approx(expected, abs=1e-12)
    assert float(kl_divergence(p, q)) >= -1e-12
    assert float(js_divergence(p, q)) == pytest.approx(float(js_divergence(q, p)))
    assert -1e-12 <= float(js_divergence(p, q)) <= np.log(2)
    assert float(kl_divergence(p, p)) == 0.0


def test_divergence_by_hand() -> None:
    # 1/4, 3/4 against 1/2, 1/2: ln(1/2) / 4 + 3 ln(3/2) / 4 one way, and back
    p, q = np.array([0.25, 0.75]), np.array([0.5, 0.5])
    assert float(kl_divergence(p, q)) == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    assert float(kl_divergence(q, p)) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))


def test_smoothing_by_hand() -> None:
    np.testing.assert_allclose(smoothed(np.array([0, 3, 5])), [0.5 / 9.5, 3.5 / 9.5, 5.5 / 9.5])


def test_a_shifted_copy_has_the_divergence_computed_by_hand() -> None:
    values = np.repeat([0.5, 1.5, 2.5], [6, 3, 1]).astype(np.float32)
    edges = [0.0, 1.0, 2.0, 3.0, 4.0]
    first, second = histogram(values, edges), histogram(values + 1, edges)
    assert (first.tolist(), second.tolist()) == ([0, 6, 3, 1, 0, 0], [0, 0, 6, 3, 1, 0])
    # with a half face in each of six bins, over 13: 6.5 ln 13 + 3.5 ln(3.5 / 6.5) + ...
    terms = [6.5 * np.log(13), 3.5 * np.log(7 / 13), 1.5 * np.log(3 / 7), 0.5 * np.log(1 / 3)]
    found = kl_divergence(smoothed(first), smoothed(second))
    assert float(found) == pytest.approx(sum(terms) / 13)


def test_a_sample_groups_people_who_are_alike() -> None:
    bins = np.array([0, 1, 0, 1, 2, 2, -1])
    sample = sample_of(bins, numbered(["a", "a", "b", "b", "", "", "a"]), 3)
    assert sample.num_people == 4  # a, b and two strangers
    assert sample.counts.tolist() == [2, 2, 2]
    found = {
        tuple(kind): times for kind, times in zip(sample.kinds.tolist(), sample.times, strict=True)
    }
    assert {kind: times for kind, times in found.items() if times} == {(0, 0, 1): 2, (1, 1, 0): 2}


def test_a_set_may_hold_nobody() -> None:
    sample = sample_of(np.array([-1, -1]), np.array([0, 1]), 3)
    assert sample.num_people == 0
    assert sample.counts.tolist() == [0, 0, 0]


def test_resampling_draws_people_with_all_their_faces() -> None:
    generator = np.random.default_rng(0)
    bins = generator.integers(0, 3, 60)
    subject = [f"p{number}" for number in generator.integers(0, 12, 60)]
    fast = resample(sample_of(bins, numbered(subject), 3), 4000, generator)
    slow = np.array(
        [references.person_bootstrap(bins.tolist(), subject, 3, generator) for _ in range(1500)]
    )
    np.testing.assert_allclose(fast.mean(axis=0), slow.mean(axis=0), rtol=0.05)
    np.testing.assert_allclose(np.cov(fast.T), np.cov(slow.T), atol=0.15 * np.cov(slow.T).max())


def test_a_split_parts_the_set() -> None:
    sample = Sample(np.array([[2, 0], [0, 1]]), np.array([5, 9]))
    one, other = split(sample, 6, 50, rng())
    assert (one + other == sample.counts).all()
    assert len(np.unique(one[:, 0])) > 1


def test_two_halves_of_a_set_do_not_differ() -> None:
    """The null: their divergence is 0 within its interval, and below the stated null."""
    sample = alone(np.random.default_rng(1).multinomial(4000, np.arange(1, 21) / 210))
    inside, below = 0, 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        halves = [alone(counts[0]) for counts in split(sample, 2000, 1, generator)]
        found = estimate(kl_divergence, halves[0], halves[1], num=300, rng=generator)
        assert found.value > 0  # finite samples always differ
        inside += found.ci95[0] == 0.0
        reference = estimate(kl_divergence, sample, sample, num=300, rng=generator)
        below += found.value <= reference.null_first
    assert inside >= 54
    assert below >= 54


def test_intervals_cover_the_true_divergence() -> None:
    p, q = np.array([5, 4, 3, 2, 1, 1]) / 16, np.array([1, 2, 3, 4, 4, 2]) / 16
    true = float(kl_divergence(p, q))
    generator, covered = np.random.default_rng(3), 0
    for _ in range(200):
        sets = [alone(generator.multinomial(count, own)) for count, own in ((400, p), (3000, q))]
        low, high = estimate(kl_divergence, sets[0], sets[1], num=200, rng=generator).ci95
        covered += low <= true <= high
    assert covered >= 180  # 95 % of 200 is 190


def test_ten_faces_of_a_person_widen_the_interval() -> None:
    generator = np.random.default_rng(4)
    bins = np.repeat(generator.integers(0, 3, 40), 10)
    people = [f"p{row // 10}" for row in range(400)]
    other = alone([200] * 5)
    spans = []
    for subject in (people, [""] * 400):
        found = estimate(
            kl_divergence, sample_of(bins, numbered(subject), 5), other, num=500, rng=rng()
        )
        spans.append(found.ci95[1] - found.ci95[0])
    assert spans[0] > 1.5 * spans[1]
