"""The numbers behind the report's figures."""

from __future__ import annotations

import numpy as np
import pytest

from eval.reporting.curves import ROC_POINTS, mean_gaps, region_gaps, roc_points
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
