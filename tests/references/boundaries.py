"""Slow, obvious twins of identity boundaries."""

from __future__ import annotations

import numpy as np


def ridge(latents: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Each reference on its own: normal equations of the weights and a free offset."""
    count, width = latents.shape
    scatter = np.cov(latents.T, bias=True) * count
    strength = penalty * np.trace(scatter) / width
    design = np.column_stack([latents, np.ones(count)])
    system = design.T @ design + np.diag([strength] * width + [0.0])
    planes = [np.linalg.solve(system, design.T @ column) for column in labels.T]
    return np.array([p[:-1] for p in planes]), np.array([p[-1] for p in planes])


def median_labels(references: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """-1 for the half of the neighbours that is most alike to a reference, +1 for the rest."""
    labels = np.empty((len(neighbours), len(references)))
    for r, reference in enumerate(references):
        cosines = [
            n @ reference / (np.linalg.norm(n) * np.linalg.norm(reference)) for n in neighbours
        ]
        middle = np.median(cosines)
        for n, cosine in enumerate(cosines):
            labels[n, r] = -1.0 if cosine >= middle else +1.0
    return labels
