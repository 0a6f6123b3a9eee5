"""The numbers behind the report's figures."""

from __future__ import annotations

import numpy as np
import pytest

from eval.reporting.curves import (
    ROC_POINTS,
    Roc,
    mean_gaps,
    region_gaps,
    roc_csv,
    roc_points,
    tar_band,
)
from eval.reporting.figures import roc_figure
from eval.scoring.intervals import PairSubjects, wilson
from eval.scoring.scored import ScoredPairs
from manifests.core.errors import InputError
from manifests.records.gaps import GapTable


def test_roc_points_are_operating_points_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(5000) < 0.5
    scores = rng.normal(same, 1.0)
    far, tar = roc_points(scores, same)
    assert len(far) <= ROC_POINTS and far[0] == 0.0 and (far[-1], tar[-1]) == (1.0, 1.0)
    for one, other in zip(far, tar, strict=True):
        threshold = np.sort(scores[~same])[::-1][min(round(one * (~same).sum()), (~same).sum() - 1)]
        accepted = (scores[same] > threshold).mean() if one < 1 else 1.0
        assert abs(accepted - other) < 1e-9


def test_region_gaps_are_means_over_both_views() -> None:
    ids, region = np.arange(4), np.array([0, 0, 1, 1], np.int32)
    ones = np.ones(4, np.float32)
    before = GapTable(ids, ones * 0.2, np.float32([0.4, 0.4, 0.8, 0.8]), ones, region, ones, "", "")
    after = GapTable(ids, ones * 0.1, ones * 0.1, ones, region, ones, "", "")
    first, second = region_gaps(before, after, {1})
    assert (first.region, first.mined, first.num_faces) == (1, True, 2)
    assert (first.before, second.before) == pytest.approx((0.5, 0.3))
    assert mean_gaps([first, second]) == pytest.approx((0.4, 0.1))
    assert mean_gaps([]) is None
    with pytest.raises(InputError, match="other faces"):
        region_gaps(before, GapTable(ids + 1, ones, ones, ones, region, ones, "", ""), {1})


def pairs_of(scores: np.ndarray, same: np.ndarray) -> ScoredPairs:
    rows = np.arange(len(same))
    names = [str(row) for row in rows]
    return ScoredPairs(
        rows, rows % 2, names, names, same, scores.astype(float), np.zeros(len(rows), bool)
    )


def test_a_band_holds_its_curve_and_is_never_narrower_than_wilson() -> None:
    rng = np.random.default_rng(1)
    same = np.arange(400) % 2 == 0
    each = np.arange(len(same))
    for spread in (0.0, 0.7):
        pairs = pairs_of(rng.normal(same, spread), same)
        far, tar = roc_points(pairs.score, pairs.same)
        low, high = tar_band(pairs, PairSubjects(each, each, len(each)), far, tar)
        assert (low <= tar).all() and (tar <= high).all() and 0.0 <= low.min() <= high.max() <= 1.0
        least = np.array([wilson(round(value * 200), 200) for value in tar.tolist()]).T
        assert (low <= least[0]).all() and (high >= least[1]).all()


def test_a_band_of_few_people_is_wider_than_one_of_independent_pairs() -> None:
    rng = np.random.default_rng(2)
    same = np.arange(2000) % 2 == 0
    person = np.arange(2000) % 20
    scores = rng.normal(same + rng.normal(0, 0.5, 20)[person], 0.5)
    pairs, each = pairs_of(scores, same), np.arange(2000)
    far, tar = np.array([0.1]), np.array([0.5])
    wide, narrow = (
        float(np.diff(tar_band(pairs, subjects, far, tar), axis=0)[0, 0])
        for subjects in (PairSubjects(person, person, 20), PairSubjects(each, each, 2000))
    )
    assert wide > narrow


@pytest.mark.parametrize(("lowest", "floor"), [(0.9, 0.8), (0.6, 0.5), (0.1, 0.0)])
def test_a_roc_is_drawn_from_where_the_lowest_curve_lies(lowest: float, floor: float) -> None:
    far, tar = np.array([0.001, 0.1, 1.0]), np.array([lowest, 0.95, 1.0])
    (axes,) = roc_figure([Roc("orl", "student", far, tar, 10000)]).axes
    assert axes.get_ylim()[0] == floor


def test_a_band_stands_in_the_table_too() -> None:
    far, tar = np.array([0.1, 1.0]), np.array([0.5, 1.0])
    band = np.array([[0.4, 0.9], [0.6, 1.0]])
    drawn, bare = (Roc("orl", name, far, tar, 10, own) for name, own in (("a", band), ("b", None)))
    lines = roc_csv([drawn, bare]).splitlines()
    assert lines[0] == "benchmark,model,far,tar,tar_low,tar_high"
    assert lines[1:4:2] == ["orl,a,0.1,0.5,0.4,0.6", "orl,b,0.1,0.5,0.5,0.5"]
