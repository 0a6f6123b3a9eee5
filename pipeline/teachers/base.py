"""What a teacher promises, and the precision that it embeds in. A backend is a file here with
`load(weights) -> Teacher`.

Stores are embedded in what params.yaml says (`embed: precision`). Whatever measures pictures by a
teacher itself does so in float32, and reads that network's stores of either precision.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import Backend, computing_in, precision_of

VIEWS = ("plain", "flip")
PRECISION = "precision"  # in an identity; float32 where it is not there


class Teacher(Backend):
    """A frozen network that embeds faces; each row depends on its own picture alone."""

    frame: Frame
    width: int  # of an embedding
    metric: str  # the native one for verification: euclidean (raw embeddings) or cosine
    preprocessing: str  # in words, part of the identity
    by_torch = False  # whether its network is, so that its arithmetic can be chosen

    @abstractmethod
    def embed(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        """Raw embeddings of RGB pictures in [0, 255] in the teacher's own frame."""

    def identity(self) -> dict[str, Any]:
        """What must be equal for two stores to hold the same teacher's embeddings."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "preprocessing": self.preprocessing,
            "frame": asdict(self.frame),
            "metric": self.metric,
            "views": list(VIEWS),
        }


class InBfloat16(Teacher):
    """Another teacher, whose network computes in bfloat16 by autocast."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher, self.place = teacher, torch.device("cpu")
        self.name, self.weights_sha256 = teacher.name, teacher.weights_sha256
        self.frame, self.width, self.metric = teacher.frame, teacher.width, teacher.metric
        self.preprocessing, self.licence = teacher.preprocessing, teacher.licence

    def to(self, device: torch.device) -> None:
        self.teacher.to(device)
        self.place = device

    def numerics(self) -> dict[str, str]:
        return self.teacher.numerics()

    def embed(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        with computing_in("bfloat16", self.place):
            return self.teacher.embed(images).float()

    def identity(self) -> dict[str, Any]:
        return self.teacher.identity() | {PRECISION: "bfloat16"}


def in_precision(teacher: Teacher, asked: str, device: str) -> Teacher:
    """The teacher that embeds so: float32, bfloat16, or auto.

    Raises InputError for bfloat16 of a network that is none of torch.
    """
    if asked == "auto" and not teacher.by_torch:
        return teacher
    if precision_of(asked, device) == "float32":
        return teacher
    if not teacher.by_torch:
        raise InputError(
            f"embed.precision: bfloat16, but teacher {teacher.name} is no network of torch and "
            "computes in the precision of its file; say auto or float32"
        )
    return InBfloat16(teacher)


def of_one_network(stored: Mapping[str, Any], measuring: Mapping[str, Any]) -> bool:
    """Are these the identities of one teacher, in whichever precision either embedded?"""
    one, other = (
        canonical_json({name: value for name, value in identity.items() if name != PRECISION})
        for identity in (stored, measuring)
    )
    return one == other
