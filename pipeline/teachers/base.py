"""What a teacher promises. A backend is a file here with `load(weights) -> Teacher`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import Backend

VIEWS = ("plain", "flip")


class Teacher(Backend):
    """A frozen network that embeds faces; each row depends on its own picture alone."""

    frame: Frame
    width: int  # of an embedding
    metric: str  # the native one for verification: euclidean (raw embeddings) or cosine
    preprocessing: str  # in words, part of the identity

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
