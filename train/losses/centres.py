"""Which prototypes a margin looks at, and prototypes that follow a teacher: pure functions."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

LEAST = 1e-6  # AdaDistill: of how much of a centre stays


def sample_identities(
    labels: Int[Tensor, " batch"], num_identities: int, rate: float, generator: torch.Generator
) -> Int[Tensor, " sampled"]:
    """The identities of a batch, and as many others, drawn alike, as make up this share of all;
    ascending (PartialFC, CVPR 2022, arXiv 2203.15565). The batch's alone, where they are more."""
    own: Tensor = labels[labels >= 0].unique()  # type: ignore[no-untyped-call]
    count = max(int(rate * num_identities), len(own), 1)
    draws = torch.rand(num_identities, generator=generator)
    draws[own.cpu()] = 2.0  # above all others
    return draws.topk(count).indices.sort().values.to(labels.device)


def last_of_each(labels: Int[Tensor, " batch"]) -> Int[Tensor, " identity"]:
    """Rows of a batch: the last one of each identity that it has."""
    order = labels.argsort(stable=True)
    ordered = labels[order]
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    return order[last & (ordered >= 0)]


def taught_centres(
    centres: Float[Tensor, "row width"],
    outputs: Float[Tensor, "row width"],
    taught: Float[Tensor, "row width"],
    *,
    weighted: bool,
) -> Float[Tensor, "row width"]:
    """a centre + (1 - a) teacher's unit embedding of a face of its identity, where a is the cosine
    of the student's embedding to the teacher's (AdaDistill, ECCV 2024, arXiv 2407.01332): the
    better the student follows, the slower the centre moves. `weighted`: a times the cosine of the
    teacher's embedding to the centre, so that a face far from its centre moves it more.
    """
    stays = functional.cosine_similarity(outputs, taught)
    if weighted:
        stays = stays * functional.cosine_similarity(centres, taught).clamp(LEAST, 1.0)
    return functional.normalize(taught).lerp(centres, stays.clamp(LEAST, 1.0)[:, None])
