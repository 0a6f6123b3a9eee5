"""Certainty ratios: how sure the prototypes of identities are of a face, and a head that learns
to tell it from the embedding (CR-FIQA, CVPR 2023, arXiv 2112.06592)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from manifests.settings.objectives import CertaintyRatio
from train.losses.margin_heads import MarginHead
from train.losses.margins import own_identity

EPSILON = 1e-9  # paper: so that no denominator is 0
OVERWRITTEN = -1e-12  # released: what takes the place of the own identity's cosine


def own_cosine(
    cosines: Float[Tensor, "batch identity"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """CCS, to the prototype of a face's own identity (eq. 2)."""
    return cosines.gather(1, labels[:, None])[:, 0]


def nearest_other(
    cosines: Float[Tensor, "batch identity"], labels: Int[Tensor, " batch"], own: float
) -> Float[Tensor, " batch"]:
    """NNCCS, the largest to any other prototype (eq. 3), where the own one counts for `own`."""
    return cosines.masked_fill(own_identity(labels, cosines.shape[1]), own).amax(dim=1)


def certainty_ratio(
    cosines: Float[Tensor, "batch identity"], labels: Int[Tensor, " batch"], ratio: str
) -> Float[Tensor, " batch"]:
    """What a face's quality is taken for; `cosines` are those before the margin, every row has a
    label and there are two identities at least.

    paper: CCS / (NNCCS + 1 + 1e-9) (eq. 4), between CCS / 2 and CCS where some other prototype
    is within a right angle. released: CCS / NNCCS, in which the own cosine was overwritten by
    -1e-12, so that NNCCS is not below that: without bound where no other cosine is above 0.
    ccs: the numerator alone (the ablation). Scores of two ratios are not on one scale.
    """
    certain = own_cosine(cosines, labels).double()
    if ratio == "released":
        found = certain / nearest_other(cosines, labels, OVERWRITTEN).double()
    elif ratio == "paper":
        found = certain / (nearest_other(cosines, labels, -1.0).double() + 1.0 + EPSILON)
    else:
        found = certain
    return found.to(cosines)


class QualityRegression(nn.Module):
    """The smooth L1 loss (eq. 5) of one linear layer on the embedding, which predicts the ratio.

    The ratio is of this very pass, and a target: no gradient goes through it. The prediction's
    goes on into the student. `below`: the margin head of another run, in whose place nothing is
    trained, the student included.
    """

    def __init__(self, term: CertaintyRatio, width: int, below: MarginHead | None = None) -> None:
        super().__init__()
        self.term = term
        self.layer = nn.Linear(width, 1)
        self.below = None if below is None else below.requires_grad_(False)

    def forward(
        self,
        outputs: Float[Tensor, "batch width"],
        labels: Int[Tensor, " batch"],
        head: MarginHead | None,
    ) -> Float[Tensor, ""]:
        """Mean over the labelled rows; 0 where no row has a label."""
        known = labels >= 0
        predicted = self.layer(outputs[known])[:, 0]
        if not len(predicted):
            return predicted.sum()
        return functional.smooth_l1_loss(
            predicted, self.ratios(outputs[known], labels[known], head), beta=self.term.beta
        )

    @torch.no_grad()
    def ratios(
        self,
        outputs: Float[Tensor, "batch width"],
        labels: Int[Tensor, " batch"],
        head: MarginHead | None,
    ) -> Float[Tensor, " batch"]:
        prototypes = head if self.below is None else self.below
        assert prototypes is not None  # manifests.settings.objectives asks for one or the other
        cosines = prototypes.cosines(outputs).clamp(-1.0, 1.0)
        return certainty_ratio(cosines, labels, self.term.ratio)
