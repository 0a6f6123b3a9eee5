"""What a student is trained to do: a loss of its embeddings and of what its teachers say.

An objective may own trained parameters (a margin head, an adaptor of several teachers). They are
optimised and checkpointed with the student, and never exported with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from manifests.errors import pick
from manifests.params import Params
from train.losses import LOSSES


@dataclass(frozen=True)
class Target:
    """How raw teacher embeddings become what the student must match."""

    centre: Tensor  # the teacher's mean over the pool
    spread: float  # one scalar: the angles between targets stay what they are

    def __call__(self, raw: Tensor) -> Tensor:
        return (raw - self.centre.to(raw)) / self.spread


@dataclass(frozen=True)
class Lesson:
    """What is known of a batch, on the student's device."""

    targets: Mapping[str, Float[Tensor, "batch _"]]  # by teacher: raw, of the chosen view
    labels: Int[Tensor, " batch"]  # of identities, or -1
    epoch: int  # of the run: times that every face was seen


class Objective(nn.Module):
    """Promise: `objective(embeddings, lesson)` is a scalar to minimise, the batch's mean."""

    def forward(self, embeddings: Float[Tensor, "batch _"], lesson: Lesson) -> Float[Tensor, ""]:
        raise NotImplementedError


class Imitation(Objective):
    """One teacher's standardised embedding, by a loss of `LOSSES`."""

    def __init__(self, teacher: str, target: Target, loss: str) -> None:
        super().__init__()
        self.teacher, self.target, self.loss = teacher, target, pick("loss", loss, LOSSES)

    def forward(self, embeddings: Float[Tensor, "batch _"], lesson: Lesson) -> Float[Tensor, ""]:
        return self.loss(embeddings, self.target(lesson.targets[self.teacher]))


def teachers_of(params: Params) -> tuple[str, ...]:
    """Names of the teachers whose stores the objective needs, in the order of their use."""
    return (params.teacher,)


def embedding_width(params: Params, targets: Mapping[str, Target]) -> int:
    """Of the student."""
    return len(targets[params.teacher].centre)


def make_objective(
    params: Params, targets: Mapping[str, Target], *, num_identities: int
) -> Objective:
    """The objective that params.yaml asks for, its own parameters from torch's global generator.

    `targets`: by teacher, centred by the first round. Raises InputError for an unknown loss.
    """
    return Imitation(params.teacher, targets[params.teacher], params.train.loss)
