"""What a student is trained to do: a loss of its embeddings and of what its teachers say.

An objective may own trained parameters (a margin head, projections). They are optimised and
checkpointed with the student, and never exported with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.settings.objectives import CertaintyRatio, Grouped, Margin, Term, Tuition
from manifests.settings.params import Params
from train.losses.adaptors import ADAPTOR, Adaptor, load_adaptor
from train.losses.certainty import QualityRegression
from train.losses.face_weights import FaceWeights
from train.losses.margin_heads import HEAD, MarginHead, load_head
from train.losses.terms import PULLS, GroupedComparison, Target, comparison

DEFAULT = Tuition()  # of the teacher that params.yaml names above all sections


@dataclass(frozen=True)
class Supervision:
    """What the loss is told of a batch, on the student's device."""

    targets: Mapping[str, Float[Tensor, "batch _"]]  # by teacher: raw, of the chosen view
    labels: Int[Tensor, " batch"]  # of identities, or -1
    epoch: int  # of the run: times that every face was seen
    face_ids: Int[Tensor, " batch"] | None = None


class Objective(nn.Module, ABC):
    """Promise: `objective(embeddings, supervision)` is a scalar to minimise, the batch's mean."""

    trains_student = True  # or only its own parameters, the student staying as it is

    @abstractmethod
    def forward(
        self, embeddings: Float[Tensor, "batch _"], supervision: Supervision
    ) -> Float[Tensor, ""]: ...


class Teaching(nn.Module):
    """What is learnt from one teacher, whose snapshots may take turns: epoch e, snapshot e.

    Terms on pairs look at the student's own outputs; the others at them through the projection.
    """

    def __init__(
        self,
        names: Sequence[str],
        targets: Sequence[Target],
        terms: Sequence[Term],
        weight: float = 1.0,
        projection: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.names, self.targets, self.weight = tuple(names), tuple(targets), weight
        self.weights = [term.weight for term in terms]
        self.comparisons = nn.ModuleList(map(comparison, terms))
        self.projection = projection

    def forward(
        self,
        embeddings: Float[Tensor, "batch _"],
        supervision: Supervision,
        weights: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, ""]:
        turn = supervision.epoch if len(self.names) > 1 else 0
        raw, target = supervision.targets[self.names[turn]], self.targets[turn]
        projected = embeddings if self.projection is None else self.projection(embeddings)
        losses = []
        for weight, compare in zip(self.weights, self.comparisons, strict=True):
            outputs = embeddings if compare.pairwise else projected
            losses.append(weight * compare(outputs, raw, supervision.labels, target, weights))
        return self.weight * torch.stack(losses).sum()


class Fused(nn.Module):
    """What is learnt from several teachers, of whose embeddings an adaptor makes one."""

    def __init__(self, adaptor: Adaptor, terms: Sequence[Term]) -> None:
        super().__init__()
        self.adaptor = adaptor.requires_grad_(False)
        self.teaching = Teaching(["fused"], [adaptor.target], terms)

    def forward(
        self,
        embeddings: Float[Tensor, "batch _"],
        supervision: Supervision,
        weights: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, ""]:
        one = Supervision({"fused": self.adaptor.fused(supervision.targets)}, supervision.labels, 0)
        loss: Tensor = self.teaching(embeddings, one, weights)
        return loss


class Distillation(Objective):
    """All that params.yaml asks for, added up."""

    def __init__(
        self,
        teachings: Sequence[Teaching | Fused],
        head: MarginHead | None,
        grouped: GroupedComparison | None,
        quality: QualityRegression | None = None,
        face_weights: FaceWeights | None = None,
        followed: tuple[str, Target] | None = None,
    ) -> None:
        super().__init__()
        self.teachings, self.head, self.grouped = nn.ModuleList(teachings), head, grouped
        self.quality, self.face_weights = quality, face_weights
        self.followed = followed  # of the teacher whose embeddings are the head's centres
        self.trains_student = quality is None or quality.below is None

    def forward(
        self, embeddings: Float[Tensor, "batch _"], supervision: Supervision
    ) -> Float[Tensor, ""]:
        weights = None
        if self.face_weights is not None:
            assert supervision.face_ids is not None
            weights = self.face_weights(supervision.face_ids)
        losses = [teaching(embeddings, supervision, weights) for teaching in self.teachings]
        if self.head is not None:
            taught = None
            if self.followed is not None:
                name, target = self.followed
                taught = target(supervision.targets[name])
            loss, logits = self.head(embeddings, supervision.labels, taught)
            losses.append(self.head.margin.weight * loss)
            if self.grouped is not None:
                (raw,) = supervision.targets.values()
                loss = self.grouped(logits, raw, supervision.labels, supervision.epoch)
                losses.append(self.grouped.term.weight * loss)
        if self.quality is not None:
            loss = self.quality(embeddings, supervision.labels, self.head)
            losses.append(self.quality.term.weight * loss)
        return torch.stack(losses).sum()


def teachers_of(params: Params) -> tuple[str, ...]:
    """Names of the teachers whose stores the objective needs, in the order of their use."""
    train = params.train
    if not train.loss.needs_teacher:
        return ()
    return train.snapshots or tuple(train.teachers) or (params.teacher,)


def embedding_width(params: Params, targets: Mapping[str, Target]) -> int:
    """Of the student: as stated, or that of what it is taught."""
    train = params.train
    if train.embedding_width is not None:
        return train.embedding_width
    if train.adaptor is not None:
        return load_adaptor(layout.run_folder(train.adaptor)).width
    if not targets:
        raise InputError(
            "train.embedding_width: null, but train.loss has no teacher to take it from; "
            "say a number in params.yaml"
        )
    return next(iter(targets.values())).width


def make_objective(
    params: Params,
    targets: Mapping[str, Target],
    *,
    num_identities: int,
    face_weights: FaceWeights | None = None,
) -> Objective:
    """The objective that params.yaml asks for, its own parameters from torch's global generator.

    `targets`: by teacher, centred by the first round. What may be wrong with the parameters is
    found by train.losses.prerequisites, before.
    """
    width, loss = embedding_width(params, targets), params.train.loss
    head, grouped, quality, followed = None, None, None, None
    if loss.margin is not None:
        head = MarginHead(loss.margin, num_identities, width)
    if loss.follows_teacher:
        (name,) = teachers_of(params)
        followed = name, targets[name]
    if loss.grouped is not None:
        grouped = GroupedComparison(
            loss.grouped, load_head(layout.run_folder(loss.grouped.head))[0]
        )
    if loss.certainty is not None:
        below = None if loss.on_top is None else load_head(layout.run_folder(loss.on_top))[0]
        quality = QualityRegression(loss.certainty, width, below)
    teachings = _teachings(params, targets, width)
    return Distillation(teachings, head, grouped, quality, face_weights, followed)


def _teachings(params: Params, targets: Mapping[str, Target], width: int) -> list[Teaching | Fused]:
    train = params.train
    others = Margin | Grouped | CertaintyRatio
    terms = [term for term in train.loss.terms if not isinstance(term, others)]
    if not terms:
        return []
    if train.adaptor is not None:
        return [Fused(load_adaptor(layout.run_folder(train.adaptor)), terms)]
    if train.snapshots:
        return [Teaching(train.snapshots, [targets[name] for name in train.snapshots], terms)]
    pulled = any(term.name in PULLS for term in terms)  # pairs are compared without a projection
    teachings: list[Teaching | Fused] = []
    for name, own in (train.teachers or {params.teacher: DEFAULT}).items():
        target = targets[name]
        projection = nn.Linear(width, target.width) if own.projection and pulled else None
        teachings.append(Teaching([name], [target], terms, own.weight, projection))
    return teachings


def files_of(params: Params) -> dict[str, str]:
    """{relative path: SHA-256} of the files of earlier runs that the objective is made with."""
    train = params.train
    paths = []
    if train.loss.grouped is not None:
        paths.append(layout.run_folder(train.loss.grouped.head) / HEAD)
    if train.loss.on_top is not None:
        paths.append(layout.run_folder(train.loss.on_top) / HEAD)
    if train.adaptor is not None:
        paths.append(layout.run_folder(train.adaptor) / ADAPTOR)
    return {path.as_posix(): sha256_file(path) for path in paths}
