"""Slow, obvious twins of attribute heads, joint histograms and their divergences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def masked_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """A mean over the defined labels of each attribute, then over the attributes that have some."""
    attributes = []
    for at in range(labels.shape[1]):
        losses = []
        for row in range(len(labels)):
            if labels[row, at] != 0:
                no, yes = np.exp(logits[row, at] - logits[row, at].max())
                right = yes if labels[row, at] > 0 else no
                losses.append(-np.log(right / (yes + no)))
        if losses:
            attributes.append(sum(losses) / len(losses))
    return sum(attributes) / max(1, len(attributes))


def mac(embedding: np.ndarray, tensors: dict[str, np.ndarray], shared: Sequence[int]) -> np.ndarray:
    """P(yes) of each attribute for one embedding by heads in evaluation mode, neuron by neuron;
    `shared`: the places of the shared fully connected layers in the network's list."""

    def layer(values: np.ndarray, name: str, place: int) -> np.ndarray:
        weight, bias = (tensors[f"{name}.{place}.{own}"] for own in ("weight", "bias"))
        out = np.array([max(0.0, float(w @ values + b)) for w, b in zip(weight, bias, strict=True)])
        norm = f"{name}.{place + 2}"
        scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + 1e-5)
        return (out - tensors[f"{norm}.running_mean"]) * scale + tensors[f"{norm}.bias"]

    values = (embedding - tensors["centre"]) / tensors["spread"]
    for place in shared:
        values = layer(values, "shared", place)
    last, bias = tensors["last"], tensors["bias"]
    rows = layer(values, "branches", 0).reshape(len(last), -1) if shared else [values] * len(last)
    found = []
    for own, weight, offset in zip(rows, last, bias, strict=True):
        no, yes = own @ weight + offset
        found.append(1 / (1 + np.exp(no - yes)))
    return np.array(found)


def balanced_accuracy(told: Sequence[bool], labels: Sequence[int]) -> float:
    """The mean of the shares that are right among those who have it, and among the others."""
    yes = [own for own, label in zip(told, labels, strict=True) if label > 0]
    no = [not own for own, label in zip(told, labels, strict=True) if label < 0]
    return (sum(yes) / len(yes) + sum(no) / len(no)) / 2


def cells(columns: Sequence[Sequence[float]], bounds: Sequence[Sequence[float]]) -> list[int]:
    """The cell of each face in a grid of parts; -1 where a value is missing."""
    found = []
    for values in zip(*columns, strict=True):
        cell = 0
        for value, own in zip(values, bounds, strict=True):
            cell = cell * (len(own) + 1) + sum(value >= bound for bound in own)
        found.append(-1 if any(np.isnan(values)) else cell)
    return found


def divergence_matrix(
    sets: Sequence[Sequence[Sequence[int]]], num_bins: Sequence[int], smoothing: float
) -> list[list[list[float]]]:
    """D(row || column) of every two sets, attribute by attribute; a set's faces, each with its bin
    in every attribute (-1: undefined)."""

    def shares(faces: Sequence[Sequence[int]], at: int) -> list[float]:
        counts = [smoothing] * num_bins[at]
        for face in faces:
            if face[at] >= 0:
                counts[face[at]] += 1
        return [count / sum(counts) for count in counts]

    found = []
    for row in sets:
        found.append([])
        for column in sets:
            ways = []
            for at in range(len(num_bins)):
                pairs = zip(shares(row, at), shares(column, at), strict=True)
                ways.append(float(sum(p * np.log(p / q) for p, q in pairs)))
            found[-1].append(ways)
    return found
