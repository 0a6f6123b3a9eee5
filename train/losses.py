"""Distillation losses: pure functions of the student's outputs and the teacher's targets.

Targets are centred by the teacher's mean over the pool and divided by one scalar, so that a
loss on angles is not drowned by the mean that all dlib embeddings share.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def cosine(
    outputs: Float[Tensor, "batch width"], targets: Float[Tensor, "batch width"]
) -> Float[Tensor, ""]:
    """Mean of 1 - cosine."""
    return (1.0 - functional.cosine_similarity(outputs, targets)).mean()


def standardised_mse(
    outputs: Float[Tensor, "batch width"], targets: Float[Tensor, "batch width"]
) -> Float[Tensor, ""]:
    """Mean squared difference per coordinate (SynthDistill's loss on standardised targets)."""
    return functional.mse_loss(outputs, targets)


LOSSES = {"cosine": cosine, "standardised-mse": standardised_mse}
