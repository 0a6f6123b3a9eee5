"""Verification figures from plain arrays of scores (higher: more alike)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import roc_auc_score, roc_curve

Z95 = 1.959963984540054
MIN_FALSE_ACCEPTS = 10  # a FAR is not reported where fewer impostors would pass by chance


@dataclass(frozen=True)
class FoldResult:
    """Accuracy on each fold at the threshold that the other folds chose."""

    accuracies: Float[np.ndarray, " fold"]
    correct: Bool[np.ndarray, " pair"]
    thresholds: Float[np.ndarray, " fold"]


def squared_distances(scores: Float[np.ndarray, " pair"], metric: str) -> np.ndarray:
    """Squared L2 distances: of unit vectors for cosine scores, raw for negated distances."""
    return 2.0 - 2.0 * scores if metric == "cosine" else scores**2


def insightface_accuracy(
    scores: Float[np.ndarray, " pair"],
    same: Bool[np.ndarray, " pair"],
    fold: Int[np.ndarray, " pair"],
    metric: str,
) -> FoldResult:
    """InsightFace's rule: of the squared-distance thresholds 0, 0.01, … 3.99 the first that is
    most often right on the other folds; a pair is called the same below it."""
    grid = np.arange(0.0, 4.0, 0.01)
    distances = squared_distances(scores, metric)

    def choose(train: np.ndarray) -> float:
        right = [((distances[train] < t) == same[train]).mean() for t in grid]
        return float(grid[int(np.argmax(right))])

    return _by_fold(distances, same, fold, choose)


def facexzoo_accuracy(
    scores: Float[np.ndarray, " pair"],
    same: Bool[np.ndarray, " pair"],
    fold: Int[np.ndarray, " pair"],
) -> FoldResult:
    """FaceX-Zoo's rule: of 1000 thresholds over the range of the scores the one with the
    largest TPR - FPR on the other folds; a pair is called the same above it."""

    def choose(train: np.ndarray) -> float:
        grid = np.linspace(scores[train].min(), scores[train].max(), 1000)
        genuine, impostor = scores[train & same], scores[train & ~same]
        gain = [(genuine > t).mean() - (impostor > t).mean() for t in grid]
        return -float(grid[int(np.argmax(gain))])

    return _by_fold(-scores, same, fold, choose)


def _by_fold(distances: np.ndarray, same: np.ndarray, fold: np.ndarray, choose: Any) -> FoldResult:
    correct = np.zeros(len(same), bool)
    numbers = np.unique(fold)
    thresholds = np.array([choose(fold != number) for number in numbers])
    for number, threshold in zip(numbers, thresholds, strict=True):
        held = fold == number
        correct[held] = (distances[held] < threshold) == same[held]
    accuracies = np.array([correct[fold == number].mean() for number in numbers])
    return FoldResult(accuracies, correct, thresholds)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion."""
    if not trials:
        return 0.0, 1.0
    p, z2 = successes / trials, Z95**2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * np.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def tar_at_far(
    scores: Float[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"], far: float
) -> dict[str, Any] | None:
    """Share of genuine pairs above the lowest threshold that lets at most `far` of the
    impostors pass; None where impostors are too few (under 10 / far) to speak of it."""
    genuine, impostor = scores[same], np.sort(scores[~same])[::-1]
    if len(impostor) * far < MIN_FALSE_ACCEPTS or not len(genuine):
        return None
    threshold = impostor[int(np.floor(len(impostor) * far))]
    accepted = int((genuine > threshold).sum())
    return {
        "value": accepted / len(genuine),
        "ci95": list(wilson(accepted, len(genuine))),
        "threshold": float(threshold),
    }


def equal_error_rate(scores: Float[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"]) -> float:
    """Where false accepts and false rejects are equally frequent, between two thresholds."""
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    difference = (1.0 - tar) - far  # falls from 1 to -1
    after = int(np.argmax(difference <= 0))
    before = max(0, after - 1)
    span = difference[before] - difference[after]
    share = difference[before] / span if span else 0.0
    return float(far[before] + share * (far[after] - far[before]))


def rank_one(
    similarity: Float[np.ndarray, "face face"], subject: Int[np.ndarray, " face"]
) -> float:
    """Share of faces whose most similar other face is of the same person."""
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    return float((subject[others.argmax(axis=1)] == subject).mean())


def verification_figures(
    scores: Float[np.ndarray, " pair"],
    same: Bool[np.ndarray, " pair"],
    fold: Int[np.ndarray, " pair"],
    metric: str,
) -> dict[str, Any]:
    """The figures of metrics.json that follow from scores alone."""
    insight = insightface_accuracy(scores, same, fold, metric)
    facexzoo = facexzoo_accuracy(scores, same, fold)
    num_folds = len(facexzoo.accuracies)
    return {
        "accuracy": float(insight.accuracies.mean()),
        "accuracy_std": float(insight.accuracies.std()),
        "accuracy_ci95": list(wilson(int(insight.correct.sum()), len(same))),
        "accuracy_convention": "insightface: best on a 0.01 grid of squared L2; std ddof 0",
        "accuracy_ci95_method": "Wilson over the held-out decisions",
        "accuracy_facexzoo": float(facexzoo.accuracies.mean()),
        "accuracy_facexzoo_standard_error": float(
            facexzoo.accuracies.std(ddof=1) / np.sqrt(num_folds)
        ),
        "auc": float(roc_auc_score(same, scores)),
        "eer": equal_error_rate(scores, same),
        "num_pairs": len(same),
    }


def tar_table(
    scores: Float[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"]
) -> dict[str, Any]:
    return {f"{far:g}": tar_at_far(scores, same, far) for far in (0.01, 0.001, 0.0001)}
