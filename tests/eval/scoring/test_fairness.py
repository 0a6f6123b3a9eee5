"""Differences between groups: published rows, cases worked by hand, bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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


def two_groups() -> ScoredPairs:
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
    return replace(parse_scores(table), group=["a"] * 520 + ["b"] * 520)


def test_rates_at_one_threshold_by_hand() -> None:
    pairs = two_groups()
    found = by_group(pairs, "cosine", pairs.subjects("folder"), resamples=40)
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
    both = replace(both, group=group)
    found = by_group(both, "cosine", both.subjects("folder"), resamples=60)
    accuracies = [found["groups"][name]["accuracy"] for name in "ab"]
    assert accuracies[0]["value"] == pytest.approx(accuracies[1]["value"])
    assert found["accuracy_mean"]["value"] == pytest.approx(accuracies[0]["value"])
    assert found["accuracy_std"]["value"] == pytest.approx(0.0)
    assert found["accuracy_ser"]["value"] == pytest.approx(1.0)
    low, high = found["accuracy_ser"]["ci95_identity"]
    assert low >= 1.0 and high > 1.0  # the sampling error of a maximum has one side
    assert accuracies[0]["ci95_identity"][0] <= accuracies[0]["ci95"][0]


TOO_FEW = "rates at 0.001: 1000 impostor pairs within groups, expected 10000"


def figures(pairs: ScoredPairs, resamples: int = 40) -> dict[str, Any]:
    return by_group(pairs, "cosine", pairs.subjects("folder"), resamples=resamples)


def test_pairs_of_two_groups_people_count_in_none() -> None:
    """And choose no threshold: easy impostors between groups would lower it."""
    pairs = two_groups()
    assert pairs.group is not None
    easy = parse_scores(scores_table(
        np.concatenate([np.full(400, 0.05), pairs.score]),
        np.concatenate([np.zeros(400, bool), pairs.same]),
        fold=np.concatenate([np.arange(400) % 2, pairs.fold]),
    ))  # fmt: skip
    found, alone = figures(replace(easy, group=[*[""] * 400, *pairs.group])), figures(pairs)
    assert found["num_pairs_of_no_group"] == 400 and alone["num_pairs_of_no_group"] == 0
    rates, wanted = (each["at_global_fmr"]["0.01"] for each in (found, alone))
    assert rates["threshold"] == wanted["threshold"]
    assert rates["groups"]["b"]["fmr"]["value"] == wanted["groups"]["b"]["fmr"]["value"]
    assert found["groups"].keys() == {"a", "b"}
    assert found["groups"]["a"]["accuracy"]["value"] == alone["groups"]["a"]["accuracy"]["value"]


def test_rates_are_what_a_slow_count_gives() -> None:
    """Of unequal groups, two of them too small, and pairs of none."""
    rng = np.random.default_rng(11)
    own = people_pairs(3, people=120)
    sides = [[int(name[1:].partition("/")[0]) for name in side] for side in (own.left, own.right)]
    home = np.array(["few", "lone", *rng.choice(["x", "y", "z"], 118)])
    left, right = (home[side] for side in sides)
    pairs = replace(own, group=np.where(left == right, left, "").tolist())
    found = by_group(pairs, "cosine", pairs.subjects("folder"), fmrs=(0.1,), resamples=20)
    wanted = references.rates_by_group(own.score, own.same, list(pairs.group or ()), 0.1)
    rates = found["at_global_fmr"]["0.1"]
    assert rates["threshold"] == wanted.pop("threshold")
    told = {
        name: {kind: rate and rate["value"] for kind, rate in kinds.items()}
        for name, kinds in rates["groups"].items()
    }
    assert told.pop("few") == told.pop("lone") == {"fmr": None, "fnmr": None}
    assert told == {name: pytest.approx(wanted[name]) for name in "xyz"}
    for kind in ("fmr", "fnmr"):
        each = [wanted[name][kind] for name in "xyz"]
        assert rates[f"{kind}_worst_over_best"]["value"] == pytest.approx(max(each) / min(each))
    accuracies = [found["groups"][name]["accuracy"]["value"] for name in "xyz"]
    assert found["accuracy_mean"]["value"] == pytest.approx(np.mean(accuracies))
    assert found["accuracy_std"]["value"] == pytest.approx(np.std(accuracies, ddof=1))
    assert "accuracy of few: 2 genuine and 0 impostor pairs" in found["reasons"][0]
    assert "FNMR of lone at 0.1: 2 genuine pairs, expected 10" in found["reasons"]


def test_a_group_too_small_for_a_figure_is_null_with_the_reason() -> None:
    pairs = two_groups()
    of_b = np.array(pairs.group) == "b"
    one_kind = figures(replace(pairs, same=np.where(of_b, False, pairs.same)))
    assert one_kind["groups"]["b"]["accuracy"] is None
    assert one_kind["groups"]["a"]["accuracy"]["value"] > 0.9
    assert one_kind["accuracy_mean"] is one_kind["accuracy_ser"] is None  # of one group alone
    assert one_kind["reasons"] == [
        "accuracy of b: 0 genuine and 520 impostor pairs, expected at least 10 of each",
        TOO_FEW.replace("1000 ", "1020 "),
        "FNMR of b at 0.01: 0 genuine pairs, expected 10",
    ]
    rates = one_kind["at_global_fmr"]["0.01"]
    assert rates["groups"]["b"]["fnmr"] is rates["fnmr_worst_over_best"] is None
    assert rates["groups"]["b"]["fmr"] is not None
    one_fold = figures(replace(pairs, fold=np.where(of_b, 0, pairs.fold)))
    assert one_fold["reasons"][0].startswith("accuracy of b: one fold only")


def test_a_fmr_needs_one_impostor_for_each_that_may_pass() -> None:
    impostors = np.concatenate([np.arange(940.0), np.arange(60.0)]) / 940
    genuine = np.full(40, 2.0)
    scores = np.concatenate([impostors, genuine])
    same = np.arange(1040) >= 1000
    pairs = parse_scores(scores_table(scores, same, fold=np.arange(1040) % 2))
    group = ["a"] * 940 + ["b"] * 60 + ["a"] * 20 + ["b"] * 20
    found = figures(replace(pairs, group=group))
    rates = found["at_global_fmr"]["0.01"]
    assert rates["groups"]["b"]["fmr"] is None and rates["groups"]["b"]["fnmr"]["value"] == 0.0
    assert found["reasons"] == [TOO_FEW, "FMR of b at 0.01: 60 impostor pairs, expected 100"]


def test_one_group_has_its_figures_and_no_differences() -> None:
    pairs = two_groups()
    found = figures(replace(pairs, group=["a"] * len(pairs)))
    assert found["groups"]["a"]["accuracy"]["value"] > 0.9
    assert found["accuracy_mean"] is found["accuracy_std"] is found["accuracy_ser"] is None
    assert found["reasons"] == ["one group only (a), differences need two", TOO_FEW]
    with pytest.raises(InputError, match="no pair is of a group"):
        figures(replace(pairs, group=[""] * len(pairs)))
