"""Figures of identities by hand, by slow loops, and by pyeer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.separability import (
    Looks,
    cosines_of,
    duplicates,
    genuine_pairs,
    identity_means,
    impostor_pairs,
    measure,
    separability,
    sibling_mean,
)
from manifests.core.errors import InputError
from tests.eval.scoring.test_metrics import pyeer_stats
from tests.references.scoring import operating_points


def people(count: int, faces: int, noise: float, seed: int = 0) -> Looks:
    """Unit vectors about a direction of each identity; two identities a reference."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(count), faces)
    rows = rng.standard_normal((count, 16))[identity]
    rows = rows + noise * rng.standard_normal(rows.shape)
    return Looks(rows / np.linalg.norm(rows, axis=1, keepdims=True), identity, identity // 2)


@given(st.lists(st.integers(0, 4), min_size=0, max_size=14))
def test_genuine_pairs_are_all_pairs_of_one_identity(numbers: list[int]) -> None:
    identity = np.array(numbers, np.int64)
    wanted = {(a, b) for b in range(len(numbers)) for a in range(b) if numbers[a] == numbers[b]}
    assert {tuple(sorted(pair)) for pair in genuine_pairs(identity).T.tolist()} == wanted


@given(st.lists(st.integers(0, 4), min_size=0, max_size=14), st.integers(1, 200), st.integers(0, 9))
def test_impostor_pairs_are_of_unlike_identities(numbers: list[int], count: int, seed: int) -> None:
    identity = np.array(numbers, np.int64)
    pairs = impostor_pairs(identity, count, seed)
    assert (identity[pairs[0]] != identity[pairs[1]]).all()
    unlike = sum(a != b for at, a in enumerate(numbers) for b in numbers[:at])
    assert pairs.shape[1] == min(count, unlike)
    if unlike <= count:
        assert len(np.unique(np.sort(pairs, axis=0), axis=1).T) == unlike
    assert np.array_equal(pairs, impostor_pairs(identity, count, seed))


def test_impostors_are_drawn_evenly_from_all_faces() -> None:
    everything = impostor_pairs(np.repeat(np.arange(50), 4), 40_000, 1)
    assert everything.shape[1] == 200 * 196 // 2
    drawn = impostor_pairs(np.repeat(np.arange(500), 4), 40_000, 1)
    counts = np.bincount(drawn.ravel(), minlength=2000)
    assert counts.mean() == 40
    assert counts.std() < 1.3 * np.sqrt(40)


def test_one_stranger_among_many_faces_is_found_once_with_each() -> None:
    identity = np.r_[np.zeros(3000, int), 1]
    pairs = impostor_pairs(identity, 20_000, 0)
    assert np.array_equal(np.sort(pairs.ravel()), np.r_[np.arange(3000), np.full(3000, 3000)])


@pytest.mark.parametrize("numbers", [[0, 0, 0, 1], [2, 0, 1, 0, 2, 2], [0, 1, 2, 3]])
def test_every_impostor_pair_is_drawn_as_often(numbers: list[int]) -> None:
    identity = np.repeat(np.array(numbers), 3)
    possible = impostor_pairs(identity, 10_000, 0).shape[1]
    count = possible - 1  # one fewer: drawn, not listed
    drawn = [np.sort(impostor_pairs(identity, count, seed), axis=0) for seed in range(300)]
    found, counts = np.unique(np.concatenate(drawn, axis=1), axis=1, return_counts=True)
    assert found.shape[1] == possible
    assert abs(counts / counts.mean() - 1).max() < 0.3  # five standard deviations


def test_figures_by_hand() -> None:
    genuine, impostor = np.array([0.9, 0.7, 0.3, 0.5]), np.array([0.1, 0.4, 0.2, 0.1])
    found = separability(genuine, impostor)
    # at thresholds between 0.3 and 0.4 one of four impostors passes and one of four mates fails
    assert found["eer"] == pytest.approx(0.25)
    assert (found["fmr100"], found["fmr1000"]) == (None, None)  # four impostors say nothing
    assert found["fdr"] == pytest.approx(0.4**2 / (0.05 + 0.015))
    assert found["genuine"] == pytest.approx({"mean": 0.6, "std": np.sqrt(0.05)})
    assert found["impostor"] == pytest.approx({"mean": 0.2, "std": np.sqrt(0.015)})


def test_rates_are_the_lowest_fnmr_within_the_fmr() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(0.6, 0.2, 40), rng.normal(0.0, 0.15, 1000)
    found = separability(genuine, impostor)
    scores, same = np.concatenate([genuine, impostor]), np.arange(1040) < 40
    points = operating_points(scores, same)
    wanted = min(1.0 - tar for far, tar, _ in points if far <= 0.01)
    assert found["fmr100"] == pytest.approx(wanted)
    assert found["fmr1000"] is None


def test_pyeer_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(0.6, 0.17, 3000), rng.normal(0.0, 0.18, 12_000)
    ours = separability(genuine, impostor)
    theirs = pyeer_stats(genuine.tolist(), impostor.tolist(), monkeypatch)
    assert ours["eer"] == pytest.approx(theirs.eer, abs=2e-4)
    assert ours["fmr100"] == pytest.approx(theirs.fmr100, abs=1e-3)
    assert ours["fmr1000"] == pytest.approx(theirs.fmr1000, abs=1e-3)
    assert ours["genuine"]["mean"] == pytest.approx(theirs.gmean)
    assert ours["impostor"]["std"] == pytest.approx(theirs.istd)


def test_one_kind_of_pair_is_refused() -> None:
    looks = people(3, 1, 0.1)
    with pytest.raises(InputError, match="0 genuine and 3 impostor pairs; at least two"):
        measure(looks, impostors=100, duplicate_cosine=0.9, seed=0)


def test_mean_scores_of_identities_equal_a_loop() -> None:
    looks = people(6, 5, 0.7)
    lonely = replace(looks, identity=np.where(np.arange(30) == 0, 99, looks.identity))
    pairs = genuine_pairs(lonely.identity)
    found = identity_means(lonely.identity, pairs, cosines_of(lonely.units, pairs))
    wanted = []
    for number in range(6):
        rows = lonely.units[lonely.identity == number]
        wanted.append(np.mean([a @ b for at, a in enumerate(rows) for b in rows[:at]]))
    np.testing.assert_allclose(found, wanted)


def test_a_repeated_identity_is_found_unless_it_is_the_other_side() -> None:
    looks = people(8, 6, 0.1)
    for other, wanted in ((1, []), (4, [(4, 0)])):
        units = looks.units.copy()
        units[looks.identity == other] = units[looks.identity == 0]
        found = duplicates(replace(looks, units=units), 0.9)
        assert [pair[:2] for pair in found] == wanted
        assert all(cosine == pytest.approx(1.0) for *_, cosine in found)


def test_siblings_are_the_two_sides_of_a_reference() -> None:
    units = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, -1.0]])
    looks = Looks(units, np.arange(4), np.array([5, 5, 9, 9]))
    assert sibling_mean(looks) == pytest.approx((0.6 - 1.0) / 2)
    assert sibling_mean(replace(looks, reference=np.arange(4))) is None


def test_identities_with_less_noise_are_parted_better() -> None:
    options = {"impostors": 2000, "duplicate_cosine": 0.95, "seed": 0}
    close, far = (measure(people(30, 6, noise), **options).figures for noise in (0.3, 1.2))
    assert close["eer"] < 0.02 < far["eer"]
    assert close["fdr"] > far["fdr"]
    assert close["genuine"]["mean"] > far["genuine"]["mean"]
    assert close["num_identities"] == 30


def test_random_grouping_separates_nothing() -> None:
    looks = people(60, 6, 0.3)
    mixed = replace(looks, identity=np.random.default_rng(0).permutation(looks.identity))
    found = measure(mixed, impostors=20_000, duplicate_cosine=0.99, seed=0).figures
    assert found["eer"] == pytest.approx(0.5, abs=0.06)
