"""Twins of the search for synthetic faces beside real ones."""

from __future__ import annotations

import numpy as np


def closest_pairs(
    synthetic: np.ndarray, real: np.ndarray, metric: str, num_pairs: int
) -> tuple[list[tuple[float, int]], list[tuple[float, int, int]], list[float]]:
    """Each synthetic face's best (score, real row); the best (score, synthetic row, real row) of
    all pairs; each real face's best score. Ties go to the lower row."""
    pairs = []
    for row, face in enumerate(synthetic.astype(float)):
        for other, photograph in enumerate(real.astype(float)):
            score = (face * photograph).sum() if metric == "cosine" else -np.linalg.norm(
                face - photograph)  # fmt: skip
            pairs.append((float(score), row, other))
    ranked = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))
    best = [
        next((score, other) for score, row, other in ranked if row == wanted)
        for wanted in range(len(synthetic))
    ]
    covered = [
        max((score for score, _, other in pairs if other == wanted), default=-np.inf)
        for wanted in range(len(real))
    ]
    return best, ranked[:num_pairs], covered


def folder_auc(rows: np.ndarray, subject: np.ndarray, metric: str, own: int) -> float:
    """How often a face of that folder is more alike to another one of it than to one of another
    folder; a tie is half a win."""

    def score(one: int, other: int) -> float:
        if metric == "cosine":
            return float((rows[one] * rows[other]).sum())
        return -float(np.linalg.norm(rows[one] - rows[other]))

    inside = [row for row in range(len(rows)) if subject[row] == own]
    outside = [row for row in range(len(rows)) if subject[row] != own]
    wins = []
    for face in inside:
        for mate in inside:
            for other in outside:
                if mate != face:
                    one, two = round(score(face, mate), 9), round(score(face, other), 9)
                    wins.append(1.0 if one > two else 0.5 if one == two else 0.0)
    return sum(wins) / len(wins)
