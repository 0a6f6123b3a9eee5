"""SynthDistill's loop (Shahreza et al., IJCB 2023, arXiv 2308.14852) as an endless row of batches.

A step on fresh faces is followed by one on the same latents, moved the further the more student
and teacher agree on them; both are then forgotten. How much they agree is what they said in the
first of the two steps: before it changed the student, and normalised by the batch.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import count

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from manifests.core.errors import InputError
from manifests.settings.params import Online
from pipeline.mining.mining_laws import dynamic_as_published
from train.batching.batches import Batch
from train.batching.sources import NO_IDENTITY
from train.losses.objectives import Objective, Supervision
from train.losses.terms import Target
from train.sampling.faces import FreshFaces, Made, Studio

FRESH, MOVES, CENTRE = range(3)  # what a random stream is for, beside its seed
LEAST = 2  # faces of a step: of one, batch normalisation has no spread


class Watched(Objective):
    """An objective, and beside it what the next batch follows from: kept with the run's state, so
    that it goes on to the same bits."""

    latents: Tensor  # of the last fresh faces
    cosine: Tensor  # of student and teacher on the faces of the last step
    place: Tensor  # among the draws, as FreshFaces has it
    means: Tensor  # cosines of the last fresh and of the last moved faces

    def __init__(
        self, objective: Objective, target: Target, teacher: str, *, batch: int, width: int
    ) -> None:
        super().__init__()
        self.objective, self.target, self.teacher = objective, target, teacher
        self.register_buffer("latents", torch.zeros(batch, width))
        self.register_buffer("cosine", torch.zeros(batch))
        self.register_buffer("place", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("means", torch.zeros(2))

    def forward(
        self, embeddings: Float[Tensor, "batch _"], supervision: Supervision
    ) -> Float[Tensor, ""]:
        raw = supervision.targets[self.teacher]
        found = cosine_similarity(self.target.raw(embeddings.detach()), raw)
        self.cosine[: len(found)] = found
        loss: Tensor = self.objective(embeddings, supervision)
        return loss

    def figures(self, num_faces: int, *, of_moved: bool) -> dict[str, float]:
        """For the log, after a step on so many faces."""
        self.means[int(of_moved)] = self.cosine[:num_faces].mean()
        fresh, moved = self.means.tolist()
        return {"cosine": fresh} | ({"moved_cosine": moved} if moved else {})


def is_moved(step: int, settings: Online) -> bool:
    """Whether that step's faces are those of the step before, moved."""
    return settings.dynamic and step % 2 == 1


def batches(
    studio: Studio, watched: Watched, settings: Online, *, seed: int, first: int = 0
) -> Generator[Batch, None, None]:
    """From step `first` on. Each is made when it is asked for: once the step before was taken.

    Moved latents that show no face are passed over, so that such a batch may be smaller.
    Raises InputError where hardly any shows one.
    """
    fresh = FreshFaces(studio, (seed, FRESH), *watched.place.tolist())
    for step in count(first):
        if is_moved(step, settings):
            latents, cosine = (own.cpu().numpy() for own in (watched.latents, watched.cosine))
            rng = np.random.default_rng((seed, MOVES, step))
            found = dynamic_as_published(latents, cosine, settings.coefficient, rng)
            made = studio.make(found.latents.astype(np.float32))
            _check(made, studio, settings)
        else:
            made = fresh.take(len(watched.latents))
            watched.latents.copy_(torch.from_numpy(made.latents))
            watched.place.copy_(torch.tensor(fresh.place))
        yield _batch(made, studio.teacher.name)


def _check(made: Made, studio: Studio, settings: Online) -> None:
    if len(made) < LEAST:
        raise InputError(
            f"generator {studio.generator.name}: {len(made)} faces were found in the pictures of a "
            f"batch of moved latents; lower online.coefficient ({settings.coefficient:g})"
        )


def _batch(made: Made, teacher: str) -> Batch:
    """Faces that have no identity, and no place in a manifest."""
    none = torch.full((len(made),), NO_IDENTITY)
    return Batch(
        torch.from_numpy(made.images), {teacher: torch.from_numpy(made.targets)}, none, none
    )
