"""Slow, obvious NumPy twins of the fast functions; one loop a sum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Bilinear samples of a (channel, height, width) picture; outside, the edge is repeated."""
    channels, height, width = image.shape
    out = np.zeros((channels, size, size))
    for row in range(size):
        for column in range(size):
            # A pixel's centre lies at its index + 0.5.
            x, y = matrix @ (column + 0.5, row + 0.5, 1.0) - 0.5
            x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
            left, top = int(np.floor(x)), int(np.floor(y))
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = x - left, y - top
            upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
            lower = (1 - a) * image[:, bottom, left] + a * image[:, bottom, right]
            out[:, row, column] = (1 - b) * upper + b * lower
    return out


def merkle_root(leaves: Mapping[str, str]) -> str:
    """Pairs are hashed level by level; a node without a partner moves up as it is."""
    nodes = [_sha256(f"leaf:{path}:{leaves[path]}") for path in sorted(leaves)]
    if not nodes:
        return _sha256("")
    while len(nodes) > 1:
        above = []
        while len(nodes) >= 2:
            above.append(_sha256(f"node:{nodes.pop(0)}:{nodes.pop(0)}"))
        nodes = above + nodes
    return nodes[0]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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


def dynamic(latents: np.ndarray, step: np.ndarray, seed: int) -> np.ndarray:
    """z' = (z + step * eps) / sqrt(1 + step^2), face by face, with the same eps."""
    eps = np.random.default_rng((seed, 2)).standard_normal(latents.shape)
    rows = zip(latents, step, eps, strict=True)
    return np.array([(z + s * e) / np.sqrt(1 + s * s) for z, s, e in rows])


def hardness(
    gap: np.ndarray, region: np.ndarray, count: int, *, shrinkage: float, hard_share: float
) -> tuple[list[float], list[float], set[int]]:
    """(mean gaps, shrunken gaps, numbers of the hard regions)."""
    overall = sum(gap) / len(gap)
    means, shrunken = [], []
    for number in range(count):
        mine = [g for g, r in zip(gap, region, strict=True) if r == number]
        means.append(sum(mine) / len(mine) if mine else overall)
        shrunken.append((sum(mine) + shrinkage * overall) / (len(mine) + shrinkage))
    ranked = sorted(range(count), key=lambda number: -shrunken[number])
    return means, shrunken, set(ranked[: max(1, round(count * hard_share))])


def near_duplicates(vectors: np.ndarray, first: int, least_cosine: float) -> set[int]:
    """Indices from `first` on that repeat an earlier, unmarked vector of unit length."""
    marked: set[int] = set()
    for index in range(first, len(vectors)):
        for before in range(index):
            if before not in marked and vectors[index] @ vectors[before] > least_cosine:
                marked.add(index)
    return marked
