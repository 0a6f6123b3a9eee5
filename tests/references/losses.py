"""Losses in NumPy, one row, pair or logit at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def unit(row: np.ndarray) -> np.ndarray:
    return row / np.linalg.norm(row)


def mse(outputs: np.ndarray, targets: np.ndarray) -> float:
    total = 0.0
    for output, target in zip(outputs.flat, targets.flat, strict=True):
        total += (output - target) ** 2
    return total / outputs.size


def cosine(outputs: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean([1 - unit(o) @ unit(t) for o, t in zip(outputs, targets, strict=True)]))


def unit_squared_distance(outputs: np.ndarray, targets: np.ndarray) -> float:
    each = [np.sum((unit(o) - unit(t)) ** 2) for o, t in zip(outputs, targets, strict=True)]
    return float(np.mean(each))


def relational(outputs: np.ndarray, targets: np.ndarray, now: int | None = None) -> float:
    """Of all pairs; where only the first `now` rows are of now, of those with one of them."""
    each = []
    for i in range(len(outputs) if now is None else now):
        for j in range(i + 1, len(outputs)):
            ours = unit(outputs[i]) @ unit(outputs[j])
            theirs = unit(targets[i]) @ unit(targets[j])
            each.append((ours - theirs) ** 2)
    return float(np.mean(each))


def fpr_threshold(negatives: Sequence[float], power: int) -> float:
    """The largest similarity that at least n / 10^power negatives (one at least) reach."""
    wanted = max(1, len(negatives) // 10**power)
    reached = [s for s in negatives if sum(other >= s for other in negatives) >= wanted]
    return max(reached)


def soft_count(similarity: float, thresholds: Sequence[float], temperature: float) -> float:
    total = 0.0
    for threshold in thresholds:
        exponent = min(50.0, max(-50.0, (similarity - threshold) / temperature))
        total += 1.0 / (1.0 + math.exp(-exponent))
    return total


def arcface_logit(cosine: float, margin: float, scale: float, monotonic: bool = True) -> float:
    """Of the own identity."""
    angle = math.acos(cosine)
    if angle + margin < math.pi or not monotonic:
        return scale * math.cos(angle + margin)
    return scale * (cosine - margin * math.sin(margin))


def adaface_logit(cosine: float, quality: float, margin: float, scale: float) -> float:
    """Of the own identity."""
    angle = min(math.pi, max(0.0, math.acos(cosine) - margin * quality))
    return scale * (math.cos(angle) - (margin + margin * quality))


def adaface_quality(norm: float, mean: float, spread: float, concentration: float) -> float:
    bounded = min(100.0, max(0.001, norm))
    return min(1.0, max(-1.0, concentration * (bounded - mean) / (spread + 0.001)))


def labelled_cross_entropy(logits: np.ndarray, labels: Sequence[int]) -> float:
    each = [
        math.log(sum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(logits, labels, strict=True)
        if label >= 0
    ]
    return sum(each) / len(each) if each else 0.0


def softmax(row: Sequence[float], temperature: float) -> list[float]:
    top = max(row)
    powers = [math.exp((x - top) / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def grouped(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: Sequence[int],
    temperature: float,
    primary_weight: float,
    size: int,
) -> float:
    """GKD with primary groups of `size`, chosen by the student's logits."""
    rows = [row for row, label in enumerate(labels) if label >= 0]
    total = 0.0
    for row in rows:
        others = [i for i in np.argsort(-student[row]).tolist() if i != labels[row]]
        group = {labels[row], *others[: size - 1]}
        ours, theirs = softmax(student[row], temperature), softmax(teacher[row], temperature)
        total += divergence(in_and_out(theirs, group), in_and_out(ours, group))
        inside = sorted(group)
        total += primary_weight * divergence(
            softmax(teacher[row][inside], temperature), softmax(student[row][inside], temperature)
        )
    return total / len(rows) * temperature**2 if rows else 0.0


def released_group_size(logits: np.ndarray, mass: float, step: int, temperature: float) -> int:
    """GKD's released rule, as it is written there: probabilities summed over the batch and sorted
    once; sizes are tried from one on."""
    summed = np.zeros(logits.shape[1])
    for row in logits:
        powers = np.exp((row - row.max()) / temperature)
        summed += powers / powers.sum()
    ordered = np.sort(summed)[::-1]
    for size in range(1, logits.shape[1], step):
        if ordered[:size].sum() >= mass * len(logits):
            return size
    return logits.shape[1]


def group_size_by_row(logits: np.ndarray, mass: float, step: int, temperature: float) -> int:
    """The same of each row's own most probable identities, in the mean over rows."""
    shares = [sorted(softmax(row, temperature), reverse=True) for row in logits]
    for size in range(1, logits.shape[1], step):
        if np.mean([sum(own[:size]) for own in shares]) >= mass:
            return size
    return logits.shape[1]


def in_and_out(row: Sequence[float], group: set[int]) -> list[float]:
    inside = sum(p for identity, p in enumerate(row) if identity in group)
    outside = sum(p for identity, p in enumerate(row) if identity not in group)
    return [max(inside, 1e-12), max(outside, 1e-12)]


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def taught_centre(
    centre: np.ndarray, output: np.ndarray, taught: np.ndarray, *, weighted: bool
) -> np.ndarray:
    """AdaDistill, one face."""
    stays = float(unit(output) @ unit(taught))
    if weighted:
        stays *= min(1.0, max(1e-6, float(unit(centre) @ unit(taught))))
    stays = min(1.0, max(1e-6, stays))
    return stays * centre + (1.0 - stays) * unit(taught)


def aligned_logits(
    alignment: float, *, num_identities: int, batch: int, width: int, seed: int
) -> np.ndarray:
    """CosFace's (scale 64, margin 0.4) of faces of so many identities, whose random prototypes
    their embeddings meet at this cosine."""
    rng = np.random.default_rng(seed)
    prototypes = rng.standard_normal((num_identities, width))
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    own = rng.choice(num_identities, batch, replace=False)
    aside = rng.standard_normal((batch, width))
    aside -= np.sum(aside * prototypes[own], axis=1, keepdims=True) * prototypes[own]
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    outputs = alignment * prototypes[own] + math.sqrt(1.0 - alignment**2) * aside
    cosines = outputs @ prototypes.T
    cosines[np.arange(batch), own] -= 0.4
    return 64.0 * cosines
