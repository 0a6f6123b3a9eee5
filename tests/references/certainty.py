"""CR-FIQA one face and one identity at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def certainty_ratio(cosines: Sequence[float], own: int, ratio: str) -> float:
    """The paper's equations 2 to 4, its released code, or the numerator."""
    others = [cosine for identity, cosine in enumerate(cosines) if identity != own]
    if ratio == "paper":
        return cosines[own] / (max(others) + 1 + 1e-9)
    if ratio == "released":
        overwritten = [*others, -1e-12]
        return cosines[own] / max(overwritten)
    return cosines[own]


def smooth_l1(predicted: Sequence[float], targets: Sequence[float], beta: float) -> float:
    """Equation 5, averaged over the faces."""
    total = 0.0
    for one, other in zip(predicted, targets, strict=True):
        difference = abs(one - other)
        total += 0.5 * difference**2 / beta if difference < beta else difference - 0.5 * beta
    return total / len(predicted)


def cosine_to(row: np.ndarray, prototype: np.ndarray) -> float:
    return float(row @ prototype / np.linalg.norm(row) / np.linalg.norm(prototype))
