"""Which set explains the other: by hand, where nothing differs, and with people drawn whole."""

from __future__ import annotations

import numpy as np
import pytest

from eval.attributes.divergence import SMOOTHING, numbered
from eval.studies.attribute_drift.explanation import (
    NEITHER,
    REAL,
    SYNTHETIC,
    Coded,
    coded,
    explain,
)
from tests import references

WIDE = np.array([1, 2, 4, 6, 8, 6, 4, 2, 1]) / 34
NARROW = np.array([0.1, 0.2, 4, 6, 8, 6, 4, 0.2, 0.1]) / 28.6


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(shares: np.ndarray, count: int, generator: np.random.Generator) -> Coded:
    return coded([generator.choice(len(shares), count, p=shares)], [len(shares)], np.arange(count))


def test_of_sets_of_one_size_both_divergences_are_those_of_the_loops() -> None:
    first, second = np.repeat([0, 1, 2], [50, 30, 20]), np.repeat([0, 1, 2], [10, 10, 80])
    sets = [coded([bins], [3], np.arange(100)) for bins in (first, second)]
    (own,), whole, num_faces = explain(*sets, num=50, rng=rng())
    counts = ([50, 30, 20], [10, 10, 80])
    assert num_faces == 100
    assert own.real_by_synthetic == pytest.approx(references.kl_divergence(*counts, SMOOTHING))
    assert own.synthetic_by_real == pytest.approx(
        references.kl_divergence(*counts[::-1], SMOOTHING)
    )
    assert own.difference == pytest.approx(own.real_by_synthetic - own.synthetic_by_real)
    assert whole.difference == pytest.approx(own.difference)


def test_a_set_that_covers_the_other_explains_it_and_not_the_reverse() -> None:
    wide, narrow = drawn(WIDE, 600, rng(1)), drawn(NARROW, 6000, rng(2))
    assert explain(wide, narrow, num=200, rng=rng())[1].verdict == REAL
    wide, narrow = drawn(WIDE, 6000, rng(1)), drawn(NARROW, 600, rng(2))
    assert explain(narrow, wide, num=200, rng=rng())[1].verdict == SYNTHETIC


def test_where_nothing_differs_nothing_is_shown_however_unlike_the_sizes() -> None:
    verdicts = []
    for seed in range(30):
        generator = rng(seed)
        sets = drawn(WIDE, 150, generator), drawn(WIDE, 3000, generator)
        verdicts.append(explain(*sets, num=100, rng=generator)[1].verdict)
    assert verdicts.count(NEITHER) >= 27


def test_swapping_the_sets_turns_the_sign() -> None:
    sets = drawn(WIDE, 400, rng(1)), drawn(NARROW, 400, rng(2))
    one, other = (explain(*own, num=100, rng=rng())[1] for own in (sets, sets[::-1]))
    assert one.difference == pytest.approx(-other.difference)
    assert one.synthetic_by_real == pytest.approx(other.real_by_synthetic)


def test_ten_faces_of_a_person_widen_the_interval() -> None:
    bins = np.repeat(rng(1).choice(9, 40, p=WIDE), 10)
    other = drawn(NARROW, 400, rng(2))
    people = numbered([f"p{row // 10}" for row in range(400)])
    spans = []
    for person in (people, np.arange(400)):
        ends = explain(coded([bins], [9], person), other, num=200, rng=rng())[1].ci95
        spans.append(ends[1] - ends[0])
    assert spans[0] > 1.5 * spans[1]


def test_a_draw_holds_people_whole_and_leaves_out_what_is_undefined() -> None:
    bins = np.array([0, 0, 1, 2, -1, -1])
    other = np.array([1, -1, 1, 0, 0, -1])
    found = coded([bins, other], [3, 2], numbered(["a", "a", "b", "c", "c", "d"]))
    assert len(found.person) == 5  # of d nothing is known
    for first, second in zip(*found.draws(5, 40, rng(), again=True), strict=True):
        assert first[0] % 2 == 0 and first.sum() <= 6  # a's two faces come together
        assert second[1] * 2 >= first[0]  # a has one face there
    whole = found.draws(5, 1, rng(), again=False)
    assert [counts.tolist() for counts in whole] == [[[2, 1, 1]], [[2, 2]]]


def test_the_same_seed_gives_the_same_intervals() -> None:
    sets = drawn(WIDE, 200, rng(1)), drawn(NARROW, 900, rng(2))
    assert explain(*sets, num=50, rng=rng(3)) == explain(*sets, num=50, rng=rng(3))
