"""Terms of an objective that compare a student's outputs with a teacher's embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from manifests.settings.objectives import (
    Cosine,
    Grouped,
    Plain,
    Relational,
    Term,
    ThresholdRanks,
    UnitMse,
)
from train.losses.grouped import grouped
from train.losses.margin_heads import UNKNOWN, MarginHead, running
from train.losses.memory import Memory
from train.losses.regression import (
    cosine,
    mse,
    unit_squared_distance,
    weight_per_squared_distance,
)
from train.losses.relations import (
    fpr_thresholds,
    pair_kinds,
    pair_similarities,
    relational,
    threshold_ranks,
)

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
PULLS: dict[str, Loss] = {
    "mse": mse,
    "standardised-mse": mse,
    "cosine": cosine,
    "unit-mse": unit_squared_distance,
}
RAW = "mse"  # whose differences are of raw embeddings


@dataclass(frozen=True)
class Target:
    """How raw teacher embeddings become what the student must match, and the way back.

    Every student's outputs lie in the standardised space, where cosines are those of centred
    embeddings. A loss on raw embeddings is computed of what the outputs stand for in the
    teacher's own space: the last layer of the same student, scaled and shifted.
    """

    centre: Tensor  # the teacher's mean over the pool
    spread: float  # one scalar: the angles between targets stay what they are

    def __call__(self, raw: Tensor) -> Tensor:
        return (raw - self.centre.to(raw)) / self.spread

    def raw(self, outputs: Tensor) -> Tensor:
        return outputs * self.spread + self.centre.to(outputs)

    @property
    def width(self) -> int:
        return len(self.centre)


class Comparison(nn.Module, ABC):
    """A loss of outputs and one teacher's raw embeddings of the same faces."""

    pairwise = False  # compares similarities of pairs: the two may differ in width

    @abstractmethod
    def forward(
        self,
        outputs: Float[Tensor, "batch width"],
        raw: Float[Tensor, "batch other"],
        labels: Int[Tensor, " batch"],
        target: Target,
        weights: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, ""]:
        """`weights`: of faces; those of pairs pass them over."""


class Pull(Comparison):
    """Of each output to its own face's target."""

    def __init__(self, term: Plain | Cosine | UnitMse) -> None:
        super().__init__()
        self.loss, self.convention = PULLS[term.name], getattr(term, "convention", "")
        self.in_raw_space = term.name == RAW or not getattr(term, "centred", True)

    def forward(
        self,
        outputs: Tensor,
        raw: Tensor,
        labels: Tensor,
        target: Target,
        weights: Tensor | None = None,
    ) -> Tensor:
        if self.in_raw_space:
            loss = self.loss(target.raw(outputs), raw, weights)
        else:
            loss = self.loss(outputs, target(raw), weights)
        weight = weight_per_squared_distance(self.convention, raw.shape[1])
        return loss if weight == 1.0 else weight * loss


class Relation(Comparison):
    pairwise = True

    def __init__(self, term: Relational) -> None:
        super().__init__()
        self.memory = Memory(term.memory)

    def forward(
        self,
        outputs: Tensor,
        raw: Tensor,
        labels: Tensor,
        target: Target,
        weights: Tensor | None = None,
    ) -> Tensor:
        targets, (ours, theirs, _) = target(raw), self.memory.earlier
        self.memory.keep(outputs, targets, labels)
        return relational(outputs, targets, ours, theirs)


class RankComparison(Comparison):
    """EKD; the thresholds of student and teacher are running ones, from the first batch on."""

    pairwise = True
    student_thresholds: Tensor
    teacher_thresholds: Tensor

    def __init__(self, term: ThresholdRanks) -> None:
        super().__init__()
        self.term, self.memory = term, Memory(term.memory)
        for name in ("student_thresholds", "teacher_thresholds"):
            self.register_buffer(name, torch.full((term.thresholds,), UNKNOWN))

    def forward(
        self,
        outputs: Tensor,
        raw: Tensor,
        labels: Tensor,
        target: Target,
        weights: Tensor | None = None,
    ) -> Tensor:
        targets, earlier = target(raw), self.memory.earlier
        self.memory.keep(outputs, targets, labels)
        ours = pair_similarities(outputs, earlier[0])
        theirs = pair_similarities(targets, earlier[1])
        same, different = pair_kinds(labels, earlier[2])
        if different.any():
            self._observe(ours[different].detach(), theirs[different])
        if self.student_thresholds.isnan().any():  # no pair of two people so far
            return outputs.sum() * 0.0
        term = self.term
        hardest = ours[different].topk(min(term.hardest, int(different.sum()))).indices
        return term.positive_weight * self._ranks(
            ours[same], theirs[same]
        ) + term.negative_weight * self._ranks(ours[different][hardest], theirs[different][hardest])

    def _observe(self, ours: Tensor, theirs: Tensor) -> None:
        for kept, negatives in ((self.student_thresholds, ours), (self.teacher_thresholds, theirs)):
            found = fpr_thresholds(negatives, self.term.thresholds)
            kept.copy_(running(kept, found, self.term.running_share))

    def _ranks(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return threshold_ranks(
            ours, theirs, self.student_thresholds, self.teacher_thresholds, self.term.temperature
        )


class GroupedComparison(nn.Module):
    """GKD: the student's logits against those of the head that the teacher was trained with, the
    margin on both."""

    def __init__(self, term: Grouped, head: MarginHead) -> None:
        super().__init__()
        self.term, self.head = term, head.requires_grad_(False)

    def forward(
        self,
        logits: Float[Tensor, "batch identity"],
        raw: Float[Tensor, "batch width"],
        labels: Int[Tensor, " batch"],
        epoch: int,
    ) -> Float[Tensor, ""]:
        loss = grouped(logits, self.head.logits(raw, labels), labels, self.term)
        ramp = self.term.ramp_epochs
        return loss * (min(1.0, epoch / ramp) if ramp > 0 else 1.0)


def comparison(term: Term) -> Comparison:
    """The module of a term that needs a teacher's embeddings alone."""
    if isinstance(term, ThresholdRanks):
        return RankComparison(term)
    if isinstance(term, Relational):
        return Relation(term)
    assert isinstance(term, Plain | Cosine | UnitMse)
    return Pull(term)
