"""Slow, obvious twins of figures from scored pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def operating_points(scores: np.ndarray, same: np.ndarray) -> list[tuple[float, float, float]]:
    """(far, tar, threshold) of accepting scores above each threshold, FAR rising."""
    points = []
    for threshold in sorted({*scores.tolist(), -np.inf}, reverse=True):
        accepted = [score > threshold for score in scores]
        false = sum(a and not s for a, s in zip(accepted, same, strict=True))
        true = sum(a and s for a, s in zip(accepted, same, strict=True))
        points.append((false / sum(~same), true / sum(same), threshold))
    return points


def auc(scores: np.ndarray, same: np.ndarray) -> float:
    """The share of (genuine, impostor) couples in the right order; ties count half."""
    wins = [
        1.0 if genuine > impostor else 0.5 if genuine == impostor else 0.0
        for genuine in scores[same]
        for impostor in scores[~same]
    ]
    return sum(wins) / len(wins)


def insightface_folds(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> list[float]:
    """Fold by fold, threshold by threshold, of cosine scores."""
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


def facexzoo_folds(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> list[float]:
    accuracies = []
    for number in range(fold.max() + 1):
        train = fold != number
        best, chosen = -np.inf, 0.0
        for threshold in np.linspace(scores[train].min(), scores[train].max(), 1000):
            tpr = np.mean([s > threshold for s in scores[train & same]])
            fpr = np.mean([s > threshold for s in scores[train & ~same]])
            if tpr - fpr > best:
                best, chosen = tpr - fpr, threshold
        held = [
            (s > chosen) == label
            for s, label, home in zip(scores, same, fold, strict=True)
            if home == number
        ]
        accuracies.append(float(np.mean(held)))
    return accuracies


def repeated_pairs(left: np.ndarray, right: np.ndarray, multiplicity: np.ndarray) -> list[int]:
    """Row of each pair as often as it occurs among people of whom some occur several times."""
    rows = []
    for row, (a, b) in enumerate(zip(left, right, strict=True)):
        for first in range(multiplicity[a]):
            for second in range(multiplicity[b]):
                if a != b or first == second:
                    rows.append(row)
    return rows


def similarity(probe: np.ndarray, face: np.ndarray, metric: str) -> float:
    return float(probe @ face if metric == "cosine" else -np.linalg.norm(probe - face))


def mate_ranks(
    probes: np.ndarray, probe_subject: np.ndarray, gallery: np.ndarray, subject: np.ndarray,
    metric: str, *, itself: bool,
) -> list[int]:  # fmt: skip
    """1 + how many faces of other people score at least as high as the best mate; 0 without."""
    ranks = []
    for row, probe in enumerate(probes):
        scores = [similarity(probe, face, metric) for face in gallery]
        others = [place for place in range(len(gallery)) if not (itself and place == row)]
        mates = [scores[place] for place in others if subject[place] == probe_subject[row]]
        strangers = [scores[place] for place in others if subject[place] != probe_subject[row]]
        ranks.append(1 + sum(s >= max(mates) for s in strangers) if mates else 0)
    return ranks


def average_precisions(
    probes: np.ndarray, probe_subject: np.ndarray, gallery: np.ndarray, subject: np.ndarray,
    metric: str,
) -> list[float]:  # fmt: skip
    """Precision over recall by trapezoids, walking down each probe's gallery: of equal scores
    strangers come first."""
    found = []
    for own, probe in zip(probe_subject, probes, strict=True):
        mates = [bool(each == own) for each in subject]
        scores = [similarity(probe, face, metric) for face in gallery]
        order = sorted(range(len(gallery)), key=lambda row: (-scores[row], mates[row]))
        hits, before, area = 0, 1.0, 0.0
        for place, row in enumerate(order, 1):
            hits += mates[row]
            precision = hits / place
            area += mates[row] * (before + precision) / 2
            before = precision
        found.append(area / hits if hits else float("nan"))
    return found


def nearest_rows(rows: np.ndarray, k: int) -> list[list[int]]:
    """Each row's k best other rows by inner product, ties by number."""
    found = []
    for at, row in enumerate(rows):
        others = [other for other in range(len(rows)) if other != at]
        found.append(sorted(others, key=lambda other: (-float(row @ rows[other]), other))[:k])
    return found


def fnmr_after_discarding(
    scores: np.ndarray, same: np.ndarray, quality: np.ndarray, threshold: float, number: int
) -> float:
    """FNMR without the `number` pairs of lowest quality (no two alike)."""
    worst = sorted(range(len(scores)), key=lambda pair: quality[pair])[:number]
    left = [pair for pair in range(len(scores)) if pair not in worst and same[pair]]
    return sum(scores[pair] <= threshold for pair in left) / len(left)


def gini_coefficient(rates: np.ndarray) -> float:
    count = len(rates)
    differences = sum(abs(a - b) for a in rates for b in rates)
    return count / (count - 1) * differences / (2 * count**2 * (sum(rates) / count))


def rates_by_group(
    scores: np.ndarray, same: np.ndarray, group: list[str], fmr: float
) -> dict[str, Any]:
    """{group: {fmr, fnmr}} at the lowest score that at most this share of all groups' impostors is
    above, which is there as `threshold`; pairs without a group are as if they were not there."""
    pairs = [row for row in zip(scores.tolist(), same.tolist(), group, strict=True) if row[2]]
    impostors = [score for score, genuine, _ in pairs if not genuine]
    passing = {low: sum(score > low for score in impostors) for low in impostors}
    threshold = min(low for low, count in passing.items() if count <= fmr * len(impostors))
    found: dict[str, Any] = {"threshold": threshold}
    for name in {name for *_, name in pairs}:
        own = [(score, genuine) for score, genuine, mine in pairs if mine == name]
        false = [score > threshold for score, genuine in own if not genuine]
        missed = [score <= threshold for score, genuine in own if genuine]
        found[name] = {"fmr": _share(false), "fnmr": _share(missed)}
    return found


def _share(true: list[bool]) -> float | None:
    return sum(true) / len(true) if true else None


def pool_media(
    members: list[tuple[str, str, str]],
    embedding: Mapping[str, np.ndarray],
    unit: bool,
    weight: Mapping[str, float],
) -> dict[str, np.ndarray]:
    """(template, medium, image) rows: the mean of each medium's images, each times its weight, then
    of the media; by the mean of the media's mean weights."""

    def length_one(row: np.ndarray) -> np.ndarray:
        return row.astype(float) / np.linalg.norm(row.astype(float)) if unit else row.astype(float)

    pooled = {}
    for template in {row[0] for row in members}:
        media: dict[str, list[np.ndarray]] = {}
        for name, medium, image in members:
            if name == template:
                row = np.append(length_one(embedding[image]), 1.0)
                media.setdefault(medium, []).append(row * weight[image])
        means = [sum(images) / len(images) for images in media.values()]
        *row, mass = sum(means) / len(means)
        pooled[template] = length_one(np.array(row) / mass)
    return pooled
