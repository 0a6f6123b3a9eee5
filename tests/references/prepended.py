"""The prepended block and its loss in NumPy, one pixel and one pair at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]


def convolved(x: np.ndarray, filters: np.ndarray, bias: float = 0.0) -> np.ndarray:
    """(channel, row, column) by (output, channel, k, k), zeros around it."""
    outputs, _, size, _ = filters.shape
    edge = size // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
    found = np.zeros((outputs, *x.shape[1:]))
    for output in range(outputs):
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                seen = padded[:, row : row + size, column : column + size]
                found[output, row, column] = (seen * filters[output]).sum() + bias
    return found


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def block(picture: np.ndarray, w: Weights) -> np.ndarray:
    """Of one RGB picture (3, height, width) in [0, 255]."""
    x = picture / 127.5 - 1.0
    one = relu(convolved(x, w["one.0.weight"]))
    five = relu(convolved(relu(convolved(x, w["five.0.weight"])), w["five.2.weight"]))
    three = relu(convolved(relu(convolved(x, w["threes.0.weight"])), w["threes.2.weight"]))
    three = relu(convolved(three, w["threes.4.weight"]))
    mean = np.concatenate([convolved(x[c : c + 1], np.full((1, 1, 3, 3), 1 / 9)) for c in range(3)])
    pooled = relu(convolved(mean, w["pooled.1.weight"]))
    joined = attended(np.concatenate([one, five, three, pooled]), w)
    return (convolved(joined, w["back.weight"]) + 1.0) * 127.5


def attended(x: np.ndarray, w: Weights) -> np.ndarray:
    """CBAM (Woo et al. 2018, eqs. 2 and 3), and the identity beside it."""
    narrow, wide = (w[f"attention.channels.{at}.weight"][:, :, 0, 0] for at in (0, 2))
    asked = [wide @ relu(narrow @ pool) for pool in (x.max(axis=(1, 2)), x.mean(axis=(1, 2)))]
    out = x * sigmoid(sum(asked))[:, None, None]
    over = np.stack([out.max(axis=0), out.mean(axis=0)])
    place = convolved(over, w["attention.places.weight"], float(w["attention.places.bias"][0]))
    return out * sigmoid(place) + x


def contrastive(
    one: np.ndarray, other: np.ndarray, same: np.ndarray, margin: float, genuine: float | None
) -> float:
    """Hadsell, Chopra & LeCun 2006, eq. 4, over all pairs of rows; each kind has its weight."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            distance = float(np.linalg.norm(left - right))
            kind = bool(same[i, j])
            found[kind].append((distance if kind else max(0.0, margin - distance)) ** 2 / 2)
    if genuine is None:
        return float(np.mean(found[True] + found[False]))
    return float(genuine * np.mean(found[True]) + (1 - genuine) * np.mean(found[False]))
