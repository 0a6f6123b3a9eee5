"""Losses on the similarities of all pairs in a batch, and of its faces with earlier ones; student
and teacher may differ in width."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

STEEPEST = 50.0  # of a sigmoid's argument: beyond it, its gradient is nothing (EKD's own bound)


def pair_similarities(
    rows: Float[Tensor, "batch width"], earlier: Float[Tensor, "earlier width"] | None = None
) -> Float[Tensor, " pair"]:
    """Cosines of all pairs i < j, in the order of `pairs`; then of each row with each earlier
    one."""
    unit = functional.normalize(rows)
    first, second = pairs(len(rows), rows.device)
    within: Tensor = (unit @ unit.T)[first, second]
    if earlier is None:
        return within
    return torch.cat([within, (unit @ functional.normalize(earlier).T).flatten()])


def pairs(count: int, device: torch.device) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """Row numbers of all pairs i < j."""
    first, second = torch.triu_indices(count, count, offset=1, device=device)
    return first, second


def relational(
    outputs: Float[Tensor, "batch width"],
    targets: Float[Tensor, "batch other"],
    ours: Float[Tensor, "earlier width"] | None = None,
    theirs: Float[Tensor, "earlier other"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over pairs of the squared difference between student's and teacher's cosine; `ours`,
    `theirs`: outputs and targets of earlier faces, that pairs are made with, too."""
    return functional.mse_loss(pair_similarities(outputs, ours), pair_similarities(targets, theirs))


def pair_kinds(
    labels: Int[Tensor, " batch"], earlier: Int[Tensor, " earlier"] | None = None
) -> tuple[Bool[Tensor, " pair"], Bool[Tensor, " pair"]]:
    """(same identity, two identities) of all pairs, in the order of `pair_similarities`; a pair
    with an unlabelled face is neither."""
    first, second = (labels[rows] for rows in pairs(len(labels), labels.device))
    if earlier is not None:
        first = torch.cat([first, labels.repeat_interleave(len(earlier))])
        second = torch.cat([second, earlier.repeat(len(labels))])
    known, same = (first >= 0) & (second >= 0), first == second
    return known & same, known & ~same


def fpr_thresholds(negatives: Float[Tensor, " pair"], count: int) -> Float[Tensor, " threshold"]:
    """Similarities that one in 10, 100, … 10^count of the negative pairs reach; where the pairs
    are too few, the largest one (EKD, CVPR 2022). Needs one pair at least."""
    ordered = negatives.sort(descending=True).values
    places = [max(1, len(negatives) // 10**power) - 1 for power in range(1, count + 1)]
    return ordered[places]


def soft_counts(
    similarities: Float[Tensor, " pair"],
    thresholds: Float[Tensor, " threshold"],
    temperature: float,
) -> Float[Tensor, " pair"]:
    """How many thresholds a pair exceeds, softly: a sum of sigmoids."""
    steps = (similarities[:, None] - thresholds) / temperature
    return torch.sigmoid(steps.clamp(-STEEPEST, STEEPEST)).sum(dim=1)


def threshold_ranks(
    student: Float[Tensor, " pair"],
    teacher: Float[Tensor, " pair"],
    student_thresholds: Float[Tensor, " threshold"],
    teacher_thresholds: Float[Tensor, " threshold"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Mean squared difference of the two soft counts (EKD): a pair must lie on the same side of
    matching thresholds, not be as similar. 0 where there is no pair."""
    if not len(student):
        return student.sum()
    ours = soft_counts(student, student_thresholds, temperature)
    theirs = soft_counts(teacher, teacher_thresholds, temperature)
    return functional.mse_loss(ours, theirs)
