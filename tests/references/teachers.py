"""Twins of teachers: one picture at a time, (channel, height, width)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def iresnet(image: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
    """The embedding of one RGB picture (3, 112, 112) in [0, 255]; the first unit of a stage is
    the one with a `downsample`, and halves the picture."""

    def norm(x: np.ndarray, key: str) -> np.ndarray:
        shape = (-1,) + (1,) * (x.ndim - 1)
        weight, bias, mean, var = (
            state[f"{key}.{part}"].reshape(shape)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    def conv(x: np.ndarray, key: str, stride: int) -> np.ndarray:
        filters = state[f"{key}.weight"]
        edge = filters.shape[2] // 2
        padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
        side = -(-x.shape[1] // stride)
        out = np.zeros((len(filters), side, side))
        for row in range(side):
            for column in range(side):
                top, left = row * stride, column * stride
                patch = padded[:, top : top + 2 * edge + 1, left : left + 2 * edge + 1]
                out[:, row, column] = (filters * patch).sum(axis=(1, 2, 3))
        return out

    def prelu(x: np.ndarray, key: str) -> np.ndarray:
        return np.where(x > 0, x, state[f"{key}.weight"][:, None, None] * x)

    x = prelu(norm(conv((image - 127.5) / 127.5, "conv1", 1), "bn1"), "prelu")
    for stage in range(1, 5):
        unit = 0
        while f"layer{stage}.{unit}.bn1.weight" in state:
            key = f"layer{stage}.{unit}"
            halves = f"{key}.downsample.0.weight" in state
            out = prelu(norm(conv(norm(x, f"{key}.bn1"), f"{key}.conv1", 1), f"{key}.bn2"),
                        f"{key}.prelu")  # fmt: skip
            out = norm(conv(out, f"{key}.conv2", 2 if halves else 1), f"{key}.bn3")
            if halves:
                x = norm(conv(x, f"{key}.downsample.0", 2), f"{key}.downsample.1")
            x, unit = x + out, unit + 1
    flat = norm(x, "bn2").reshape(-1)
    return norm(state["fc.weight"] @ flat + state["fc.bias"], "features")
