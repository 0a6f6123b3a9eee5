"""Slow, obvious twins of frames, digests and screening."""

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


def near_duplicates(vectors: np.ndarray, first: int, least_cosine: float) -> set[int]:
    """Indices from `first` on that repeat an earlier, unmarked vector of unit length."""
    marked: set[int] = set()
    for index in range(first, len(vectors)):
        for before in range(index):
            if before not in marked and vectors[index] @ vectors[before] > least_cosine:
                marked.add(index)
    return marked
