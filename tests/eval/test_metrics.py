"""Metrics against counting, and one case worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.folds import facexzoo_accuracy, insightface_accuracy, squared_distances
from eval.intervals import wilson
from eval.roc import roc


def example(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    scores = np.clip(rng.normal(np.where(same, 0.5, 0.1), 0.25), -1, 1)
    return scores, same, np.arange(count) // 2 % 5


def slow_insightface(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> list[float]:
    accuracies = []
    for number in range(fold.max() + 1):
        best, chosen = -1, 0.0
        for step in range(400):
            right = 0
            for score, label, home in zip(scores, same, fold, strict=True):
                right += home != number and ((2 - 2 * score) < step * 0.01) == label
            if right > best:
                best, chosen = right, step * 0.01
        held = [
            ((2 - 2 * s) < chosen) == label
            for s, label, home in zip(scores, same, fold, strict=True)
            if home == number
        ]
        accuracies.append(float(np.mean(held)))
    return accuracies


@pytest.mark.parametrize("seed", range(4))
def test_insightface_accuracy_is_what_counting_gives(seed: int) -> None:
    scores, same, fold = example(seed)
    found = insightface_accuracy(scores, same, fold, "cosine")
    assert found.accuracies.tolist() == pytest.approx(slow_insightface(scores, same, fold))


def test_accuracy_is_one_where_a_threshold_separates() -> None:
    _, same, fold = example(0)
    scores = np.where(same, 0.9, 0.1)
    assert insightface_accuracy(scores, same, fold, "cosine").accuracies.mean() == 1.0
    assert facexzoo_accuracy(scores, same, fold).accuracies.mean() == 1.0


def test_a_folds_own_labels_do_not_choose_its_threshold() -> None:
    scores, same, fold = example(5)
    flipped = np.where(fold == 0, ~same, same)
    thresholds = [
        insightface_accuracy(scores, labels, fold, "cosine").thresholds[0]
        for labels in (same, flipped)
    ]
    assert thresholds[0] == thresholds[1]


def test_distances_of_both_metrics() -> None:
    assert squared_distances(np.array([1.0, 0.0, -1.0]), "cosine").tolist() == [0.0, 2.0, 4.0]
    assert squared_distances(np.array([-0.6]), "euclidean").tolist() == pytest.approx([0.36])


def test_tar_at_far_by_hand() -> None:
    impostor = np.arange(1000) / 1000  # 0 … 0.999
    genuine = np.array([0.985, 0.9895, 0.995, 2.0])
    scores = np.concatenate([genuine, impostor])
    same = np.arange(len(scores)) < 4
    found = roc(scores, same)  # ten impostors may pass: those above 0.989
    assert found.threshold_at(0.01) == 0.989
    assert found.tar_at(0.01) == 0.75


@given(st.integers(0, 10_000))
def test_far_of_the_chosen_threshold_is_never_above_the_wanted_one(seed: int) -> None:
    scores, same, _ = example(seed, 400)
    scores = np.round(scores, 1)  # many ties
    threshold = roc(scores, same).threshold_at(0.1)
    assert (scores[~same] > threshold).mean() <= 0.1


def test_equal_error_rate_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.3, 0.2, 0.1])
    same = np.array([True] * 4 + [False] * 4)
    assert roc(scores, same).eer() == pytest.approx(0.25)


def test_wilson_matches_a_published_value() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, Table I: 0.2553 to 0.3662
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
