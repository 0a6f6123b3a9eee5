"""10-fold accuracy, in the two conventions of the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from manifests.core.errors import InputError

INSIGHTFACE = "insightface: best on a 0.01 grid of squared L2; std ddof 0"
FACEXZOO = "facex-zoo: largest TPR - FPR of 1000 thresholds over the scores' range"


@dataclass(frozen=True)
class FoldResult:
    """Accuracy on each fold at the threshold that the other folds chose."""

    accuracies: Float[np.ndarray, " fold"]
    correct: Bool[np.ndarray, " pair"]
    thresholds: Float[np.ndarray, " fold"]  # of the distance


def squared_distances(
    scores: Float[np.ndarray, " pair"], metric: str
) -> Float[np.ndarray, " pair"]:
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
        accepted, wrongly = _below(distances, same, train, grid)
        return float(grid[int(np.argmax(accepted - wrongly))])

    return _by_fold(distances, same, fold, choose)


def facexzoo_accuracy(
    scores: Float[np.ndarray, " pair"],
    same: Bool[np.ndarray, " pair"],
    fold: Int[np.ndarray, " pair"],
) -> FoldResult:
    """FaceX-Zoo's rule: of 1000 thresholds over the range of the scores the one with the
    largest TPR - FPR on the other folds; a pair is called the same above it."""
    distances = -scores

    def choose(train: np.ndarray) -> float:
        grid = -np.linspace(scores[train].min(), scores[train].max(), 1000)
        accepted, wrongly = _below(distances, same, train, grid)
        gain = accepted / (train & same).sum() - wrongly / (train & ~same).sum()
        return float(grid[int(np.argmax(gain))])

    return _by_fold(distances, same, fold, choose)


def check_folds(fold: Int[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"]) -> None:
    """Raises InputError unless the other folds of each have pairs of both kinds."""
    numbers = np.unique(fold)
    if len(numbers) < 2:
        raise InputError("one fold only; accuracy needs other folds to choose a threshold on")
    for number in numbers:
        others = same[fold != number]
        if others.all() or not others.any():
            raise InputError(
                f"without fold {number} all pairs are of one kind; deal both over the folds"
            )


def _below(
    distances: np.ndarray, same: np.ndarray, train: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many genuine and how many impostor pairs of `train` lie below each threshold."""
    genuine, impostor = np.sort(distances[train & same]), np.sort(distances[train & ~same])
    return np.searchsorted(genuine, grid), np.searchsorted(impostor, grid)


def _by_fold(
    distances: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    choose: Callable[[np.ndarray], float],
) -> FoldResult:
    correct = np.zeros(len(same), bool)
    numbers = np.unique(fold)
    thresholds = np.array([choose(fold != number) for number in numbers])
    for number, threshold in zip(numbers, thresholds, strict=True):
        held = fold == number
        correct[held] = (distances[held] < threshold) == same[held]
    accuracies = np.array([correct[fold == number].mean() for number in numbers])
    return FoldResult(accuracies, correct, thresholds)
