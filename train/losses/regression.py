"""Losses that pull each output to the target of its own face: pure functions of two matrices."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

# What published weights are multiplied with: a mean over rows and coordinates, of unit vectors.
PUBLISHED = {"pocketnet": 100.0, "kd-fairness": 10_000.0}
PER_SQUARED_DISTANCE = "squared-distance"
CONVENTIONS = (PER_SQUARED_DISTANCE, *PUBLISHED)


def mse(
    outputs: Float[Tensor, "batch width"],
    targets: Float[Tensor, "batch width"],
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Mean squared difference per coordinate: SynthDistill's loss (IJCB 2023) on raw embeddings,
    `standardised-mse` on standardised ones."""
    if weights is None:
        return functional.mse_loss(outputs, targets)
    return weighted((outputs - targets).square().mean(dim=1), weights)


def cosine(
    outputs: Float[Tensor, "batch width"],
    targets: Float[Tensor, "batch width"],
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of 1 - cosine; half the squared distance of the unit vectors."""
    return weighted(1.0 - functional.cosine_similarity(outputs, targets), weights)


def unit_squared_distance(
    outputs: Float[Tensor, "batch width"],
    targets: Float[Tensor, "batch width"],
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over rows of the squared distance between unit vectors, 0..4."""
    difference = functional.normalize(outputs) - functional.normalize(targets)
    return weighted(difference.square().sum(dim=1), weights)


def weighted(
    losses: Float[Tensor, " batch"], weights: Float[Tensor, " batch"] | None
) -> Float[Tensor, ""]:
    """The mean of weight times loss. Weights are of mean 1 over a round, not over a batch."""
    return (losses if weights is None else losses * weights).mean()


def weight_per_squared_distance(convention: str, width: int) -> float:
    """What a squared distance between unit vectors of `width` coordinates is multiplied with.

    PocketNet (IEEE Access 2022) has 100, KD-fairness (Neto et al. 2024) and MST-KD have 10,000
    times a mean over the coordinates, too: 0.78 and 78 per squared distance at 128 coordinates,
    0.20 and 19.5 at 512.
    """
    return PUBLISHED[convention] / width if convention in PUBLISHED else 1.0
