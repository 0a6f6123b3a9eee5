"""Grouped knowledge distillation on logits (GKD, AAAI 2023): pure functions of two matrices.

The classes that hold most of the probability, a row's own always among them, are its primary
group. The student is taught how much lies in it and how it is shared there; the tail, whose
distillation the paper shows to be harmful, is left out.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from manifests.settings.objectives import Grouped

SHUT_OUT = -1000.0  # a logit whose probability is nothing
LEAST = 1e-12  # of a probability before its logarithm


def primary_count(
    probabilities: Float[Tensor, "batch identity"], mass: float, step: int, grouping: str
) -> int:
    """The smallest of 1, 1 + step, 1 + 2 step, … (or all) such that so many of the most probable
    identities hold `mass`: GKD's adaptive group size.

    batch: of the batch's mean probabilities, sorted once, as in the released code. Rows whose
    identities differ then share few of their first places, and the group is about as large as the
    batch has identities, if the student knows them. row: of each row's own, in the mean over rows.
    """
    if grouping == "batch":
        probabilities = probabilities.mean(dim=0, keepdim=True)
    covered = probabilities.sort(dim=1, descending=True).values.cumsum(dim=1).mean(dim=0)
    reached = int((covered[::step] < mass).sum())
    return min(1 + reached * step, probabilities.shape[1])


def primary_group(
    logits: Float[Tensor, "batch identity"], labels: Int[Tensor, " batch"], count: int
) -> Bool[Tensor, "batch identity"]:
    """Each row's label and its largest other logits: `count` identities."""
    first = logits.scatter(1, labels[:, None], torch.inf)
    chosen = torch.zeros_like(logits, dtype=torch.bool)
    return chosen.scatter(1, first.topk(count, dim=1).indices, True)


def binary_kd(
    student: Float[Tensor, "batch identity"],
    teacher: Float[Tensor, "batch identity"],
    primary: Bool[Tensor, "batch identity"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) of (probability in the group, probability outside of it)."""
    shares = [(logits / temperature).softmax(dim=1) for logits in (teacher, student)]
    of_teacher, of_student = (
        torch.stack([(share * part).sum(dim=1) for part in (primary, ~primary)], dim=1).clamp(LEAST)
        for share in shares
    )
    return _divergence(of_student.log(), of_teacher, temperature)


def primary_kd(
    student: Float[Tensor, "batch identity"],
    teacher: Float[Tensor, "batch identity"],
    primary: Bool[Tensor, "batch identity"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) of the distributions inside the group."""
    of_student, of_teacher = (
        torch.where(primary, logits / temperature, SHUT_OUT) for logits in (student, teacher)
    )
    return _divergence(of_student.log_softmax(dim=1), of_teacher.softmax(dim=1), temperature)


def _divergence(log_student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return functional.kl_div(log_student, teacher, reduction="batchmean") * temperature**2


def grouped(
    student: Float[Tensor, "batch identity"],
    teacher: Float[Tensor, "batch identity"],
    labels: Int[Tensor, " batch"],
    term: Grouped,
) -> Float[Tensor, ""]:
    """Binary-KD + primary_weight Primary-KD, over labelled rows; 0 where no row has a label.

    As in the released code, the student's logits choose the groups.
    """
    known = labels >= 0
    if not known.any():
        return student.sum() * 0.0
    student, teacher, labels = student[known], teacher[known], labels[known]
    with torch.no_grad():
        primary = primary_group(student, labels, group_size(student, term))
    of_group = primary_kd(student, teacher, primary, term.temperature)
    return binary_kd(student, teacher, primary, term.temperature) + term.primary_weight * of_group


def group_size(student: Float[Tensor, "batch identity"], term: Grouped) -> int:
    """How many identities a primary group has, of a batch's labelled rows."""
    if term.group_size is not None:
        return min(term.group_size, student.shape[1])
    shares = (student / term.group_temperature).softmax(dim=1)
    return primary_count(shares, term.mass, term.group_step, term.grouping)
