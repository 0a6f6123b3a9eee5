"""Margins on identity labels: cosines to the identities' prototypes -> logits, pure functions.

A row without a label (-1) keeps its plain cosines, and `labelled_cross_entropy` leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

NEAR_ONE = 1.0 - 1e-6  # of a cosine: at 1, the gradient of its angle is infinite
NORMS = (1e-3, 100.0)  # AdaFace: what an output's norm is clipped to
LEAST_SPREAD = 1e-3  # AdaFace: added to the norms' standard deviation


def own_identity(
    labels: Int[Tensor, " batch"], num_identities: int
) -> Bool[Tensor, "batch identity"]:
    """Where row's and column's identity are the same; an unlabelled row has none."""
    return labels[:, None] == torch.arange(num_identities, device=labels.device)


def cosface_logits(
    cosines: Float[Tensor, "batch identity"],
    labels: Int[Tensor, " batch"],
    margins: Float[Tensor, " batch"],
    scale: float,
) -> Float[Tensor, "batch identity"]:
    """scale (cos t - m) for the own identity (CosFace, CVPR 2018), scale cos t for the others."""
    return scale * _with_own(cosines, labels, lambda own, rows: own - margins[rows])


def arcface_logits(
    cosines: Float[Tensor, "batch identity"],
    labels: Int[Tensor, " batch"],
    margins: Float[Tensor, " batch"],
    scale: float,
    *,
    monotonic: bool = True,
) -> Float[Tensor, "batch identity"]:
    """scale cos(t + m) for the own identity (ArcFace, CVPR 2019), scale cos t for the others.

    Past t = pi - m, where the cosine would rise again, it is cos t - m sin m, as in ArcFace's
    released code; not so where it need not be `monotonic`, as in ElasticFace's and AdaDistill's.
    """

    def moved(own: Tensor, rows: Tensor) -> Tensor:
        bounded, m = own.clamp(-NEAR_ONE, NEAR_ONE), margins[rows]
        turned = bounded * m.cos() - (1.0 - bounded.square()).sqrt() * m.sin()
        if not monotonic:
            return turned
        return torch.where(bounded > torch.cos(math.pi - m), turned, own - m * m.sin())

    return scale * _with_own(cosines, labels, moved)


def adaface_logits(
    cosines: Float[Tensor, "batch identity"],
    labels: Int[Tensor, " batch"],
    qualities: Float[Tensor, " batch"],
    margin: float,
    scale: float,
) -> Float[Tensor, "batch identity"]:
    """scale (cos(t - m q) - (m + m q)) for the own identity (AdaFace, CVPR 2022), scale cos t for
    the others; `qualities` q in -1..1: like ArcFace at -1, CosFace at 0."""

    def moved(own: Tensor, rows: Tensor) -> Tensor:
        q = qualities[rows]
        angles = own.clamp(-NEAR_ONE, NEAR_ONE).acos() - margin * q
        return angles.clamp(0.0, math.pi).cos() - (margin + margin * q)

    return scale * _with_own(cosines, labels, moved)


def _with_own(
    cosines: Float[Tensor, "batch identity"],
    labels: Int[Tensor, " batch"],
    moved: Callable[[Tensor, Tensor], Tensor],
) -> Float[Tensor, "batch identity"]:
    """The same, but for `moved(own cosines, their rows)`. A margin is of a few numbers: with
    100,000 identities, each matrix as large as `cosines` is a part of what a step takes."""
    rows = (labels >= 0).nonzero()[:, 0]
    places = rows, labels[rows]
    return cosines.index_put(places, moved(cosines[places], rows))


def norm_qualities(
    norms: Float[Tensor, " batch"],
    mean: Float[Tensor, ""],
    spread: Float[Tensor, ""],
    concentration: float,
) -> Float[Tensor, " batch"]:
    """AdaFace's stand-in for image quality: the output's norm, standardised by the running mean
    and standard deviation of norms, times `concentration`, clipped to -1..1. No gradient."""
    bounded = norms.detach().clamp(*NORMS)
    return ((bounded - mean) / (spread + LEAST_SPREAD) * concentration).clamp(-1.0, 1.0)


def labelled_cross_entropy(
    logits: Float[Tensor, "batch identity"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean over labelled rows of -log softmax at the label; 0 where no row has one."""
    known = labels >= 0
    each = functional.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
