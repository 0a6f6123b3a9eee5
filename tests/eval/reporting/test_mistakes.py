"""Which pairs a student gets wrong, and how large networks are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from eval.report import UNKNOWN, size_of_teacher
from eval.reporting.mistakes import equal_error_threshold, find_mistakes, wrong
from eval.scoring.scored import ScoredPairs
from manifests.core.errors import InputError
from pipeline.arrays.numerics import count_macs


def pairs(scores: list[float], same: list[bool], left: str = "l") -> ScoredPairs:
    rows = np.arange(len(scores))
    names = [[f"{side}{row}" for row in rows] for side in (left, "r")]
    return ScoredPairs(
        rows, rows % 2, names[0], names[1], np.array(same), np.array(scores), rows == 0
    )


def test_mistakes_by_hand() -> None:
    same = [True, True, True, True, False, False, False, False]
    student = pairs([0.9, 0.8, 0.4, 0.1, 0.7, 0.6, 0.3, 0.2], same)
    teacher = pairs([0.9, 0.8, 0.7, 0.1, 0.75, 0.2, 0.3, 0.2], same)
    assert equal_error_threshold(student) == 0.4  # two of four are wrong on either side
    found = find_mistakes(student, teacher)
    assert (found.num_false_matches, found.num_false_non_matches) == (2, 2)
    assert [(pair.left, pair.score) for pair in found.false_matches] == [("l4", 0.7), ("l5", 0.6)]
    assert [pair.left for pair in found.false_non_matches] == ["l3", "l2"]
    assert [pair.teacher_too for pair in found.false_matches] == [True, False]
    assert [len(kind) for kind in vars(find_mistakes(student, teacher, 1)).values()
            if isinstance(kind, list)] == [1, 1]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=60))
def test_at_the_threshold_both_kinds_of_error_are_as_equal_as_they_get(
    drawn: list[tuple[int, bool]],
) -> None:
    scores, same = [float(score) for score, _ in drawn], [label for _, label in drawn]
    if len(set(same)) < 2:
        return
    found = pairs(scores, same)
    threshold = equal_error_threshold(found)
    fmr, fnmr = rates(found, threshold)
    assert fnmr <= fmr + 1e-9
    higher = [score for score in scores if score > threshold]
    if higher:  # the next threshold has more rejected than passing
        fmr, fnmr = rates(found, min(higher))
        assert fnmr > fmr + 1e-9
    errors = wrong(found)
    assert errors.sum() == ((np.array(scores) > threshold) != np.array(same)).sum()


def rates(found: ScoredPairs, threshold: float) -> tuple[float, float]:
    above = found.score > threshold
    return float(above[~found.same].mean()), float((~above)[found.same].mean())


def test_scores_of_unlike_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="unlike pairs"):
        find_mistakes(pairs([1.0, 0.0], [True, False]), pairs([1.0, 0.0], [True, False], "x"))


def test_multiply_adds_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1)
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    network = nn.Sequential(conv, nn.ReLU(), depthwise, nn.Flatten(), nn.Linear(8 * 8 * 8, 4))
    by_hand = 8 * 8 * (8 * 3 * 9 + 8 * 9) + 8 * 8 * 8 * 4
    assert count_macs(network, 16) == by_hand
    assert count_macs(lambda x: torch.from_numpy(x.numpy()), 16) is None  # not torch's work


def test_a_teacher_that_is_not_here_has_no_size(tmp_path: Path) -> None:
    assert size_of_teacher("arcface", tmp_path) == UNKNOWN
