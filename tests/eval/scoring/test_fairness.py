"""Differences between groups: published rows, cases worked by hand, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.fairness import by_group, gini, summaries, worst_over_best
from eval.scoring.scored import ScoredPairs, parse_scores
from manifests.core.errors import InputError
from tests import references
from tests.results import people_pairs, scores_table

# ArcFace on BUPT-GlobalFace: accuracies of RFW's Caucasian, Indian, Asian, African subsets and
# what the RL-RBN paper (Wang & Deng 2020) makes of them.
PUBLISHED = np.array([0.9737, 0.9568, 0.9455, 0.9387])


def test_summaries_give_a_published_row() -> None:
    mean, std, ratio, _ = summaries(1.0 - PUBLISHED)
    assert 100 * (1 - mean) == pytest.approx(95.37, abs=0.005)
    assert 100 * std == pytest.approx(1.53, abs=0.005)
    assert ratio == pytest.approx(2.33, abs=0.005)


def test_ratios_by_hand() -> None:
    assert worst_over_best(np.array([0.01, 0.02, 0.05])) == pytest.approx(5.0)
    assert np.isnan(worst_over_best(np.array([0.0, 0.02])))
    assert gini(np.array([0.0, 0.0, 0.3])) == pytest.approx(1.0)
    assert gini(np.array([0.2, 0.2])) == pytest.approx(0.0)
    assert gini(np.array([0.1, 0.3])) == pytest.approx(0.5)  # 2/1 · 0.4 / (2 · 4 · 0.2)
    assert np.isnan(gini(np.zeros(3)))


@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=8))
def test_gini_is_what_counting_gives(rates: list[float]) -> None:
    found = gini(np.array(rates))
    assert found == pytest.approx(references.gini_coefficient(np.array(rates)), abs=1e-12)
    assert -1e-12 <= found <= 1.0 + 1e-12


def two_groups() -> tuple[ScoredPairs, list[str]]:
    """500 impostors and 20 genuine pairs a group, in two folds. At one FMR of 0.01 ten of the
    1000 impostors pass, nine of them of the group `b`; it misses five of its genuine pairs, `a`
    one."""
    impostors = {"a": np.full(500, 0.1), "b": np.full(500, 0.1)}
    impostors["a"][:1], impostors["b"][:9] = 0.8, 0.8
    impostors["b"][9] = 0.7  # the threshold
    genuine = {"a": np.full(20, 0.9), "b": np.full(20, 0.9)}
    genuine["a"][:1], genuine["b"][:5] = 0.6, 0.6
    scores = np.concatenate([part for name in "ab" for part in (impostors[name], genuine[name])])
    same = np.tile(np.arange(520) >= 500, 2)
    table = scores_table(scores, same, fold=np.arange(1040) % 2)
    return parse_scores(table), ["a"] * 520 + ["b"] * 520


def test_rates_at_one_threshold_by_hand() -> None:
    pairs, group = two_groups()
    found = by_group(pairs, group, "cosine", pairs.subjects("folder"), resamples=40)
    rates = found["at_global_fmr"]["0.01"]
    assert rates["threshold"] == 0.7
    assert rates["groups"]["a"]["fmr"]["value"] == 1 / 500
    assert rates["groups"]["b"]["fmr"]["value"] == 9 / 500
    assert rates["groups"]["a"]["fnmr"]["value"] == 1 / 20
    assert rates["groups"]["b"]["fnmr"]["value"] == 5 / 20
    assert rates["fmr_worst_over_best"]["value"] == pytest.approx(9.0)
    assert rates["fnmr_worst_over_best"]["value"] == pytest.approx(5.0)
    assert rates["fmr_gini"]["value"] == pytest.approx(0.8)
    assert found["at_global_fmr"]["0.001"] is None  # one of 1000 is too few


def test_accuracies_are_those_within_the_groups() -> None:
    """Each group has a threshold of its own: the second one's scores are lower throughout."""
    own = people_pairs(1)
    scores = np.concatenate([own.score, own.score - 0.4])
    both = parse_scores(
        scores_table(scores, np.tile(own.same, 2), fold=np.tile(own.fold, 2),
                     left=[*(f"a{n}" for n in own.left), *(f"b{n}" for n in own.left)],
                     right=[*(f"a{n}" for n in own.right), *(f"b{n}" for n in own.right)])
    )  # fmt: skip
    group = ["a"] * len(own) + ["b"] * len(own)
    found = by_group(both, group, "cosine", both.subjects("folder"), resamples=60)
    accuracies = [found["groups"][name]["accuracy"] for name in "ab"]
    assert accuracies[0]["value"] == pytest.approx(accuracies[1]["value"])
    assert found["accuracy_mean"]["value"] == pytest.approx(accuracies[0]["value"])
    assert found["accuracy_std"]["value"] == pytest.approx(0.0)
    assert found["accuracy_ser"]["value"] == pytest.approx(1.0)
    low, high = found["accuracy_ser"]["ci95_identity"]
    assert low >= 1.0 and high > 1.0  # the sampling error of a maximum has one side
    assert accuracies[0]["ci95_identity"][0] <= accuracies[0]["ci95"][0]


def test_bad_groups_are_refused() -> None:
    pairs, group = two_groups()
    subjects = pairs.subjects("folder")
    with pytest.raises(InputError, match="one group of people only"):
        by_group(pairs, ["a"] * len(pairs), "cosine", subjects)
    one_kind = np.where(np.array(group) == "b", False, pairs.same)
    with pytest.raises(InputError, match="group b: all 520 pairs are impostor ones"):
        by_group(replace(pairs, same=one_kind), group, "cosine", subjects)
    one_fold = np.where(np.array(group) == "b", 0, pairs.fold)
    with pytest.raises(InputError, match="group b: one fold only"):
        by_group(replace(pairs, fold=one_fold), group, "cosine", subjects)
