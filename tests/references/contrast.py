"""Momentum contrast as loops over single numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def moco_logits(
    queries: np.ndarray, keys: np.ndarray, queue: np.ndarray, temperature: float
) -> np.ndarray:
    """MoCo's (He et al. 2020, algorithm 1): l_pos beside l_neg, over the temperature."""
    rows = []
    for query, key in zip(queries, keys, strict=True):
        positive = sum(float(a) * float(b) for a, b in zip(query, key, strict=True))
        negatives = [
            sum(float(a) * float(b) for a, b in zip(query, other, strict=True)) for other in queue
        ]
        rows.append([number / temperature for number in (positive, *negatives)])
    return np.array(rows)


def margin_nce(
    queries: np.ndarray, keys: np.ndarray, queue: np.ndarray, margin: float, temperature: float
) -> float:
    """USynthFace's loss as its paper writes it, the mean over a batch."""
    losses = []
    for query, key in zip(queries, keys, strict=True):
        top = math.exp((float(query @ key) - margin) / temperature)
        rest = sum(math.exp(float(query @ other) / temperature) for other in queue)
        losses.append(-math.log(top / (top + rest)))
    return sum(losses) / len(losses)


def after_fifo(queue: Sequence[np.ndarray], batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The queue's rows after these batches of keys: the oldest go first, the places stay."""
    rows, oldest = list(queue), 0
    for keys in batches:
        for key in keys:
            rows[oldest] = key
            oldest = (oldest + 1) % len(rows)
    return rows
