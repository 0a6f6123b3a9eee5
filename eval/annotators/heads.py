"""Attribute heads, `heads:PATH`: a probability for each attribute whose head is well enough.

On a round they read the embeddings that its teacher store holds; a photograph is embedded first.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from eval.annotators.base import AlignedFaces, EmbeddingAnnotator
from eval.attributes.head_files import SUFFIX, load_heads
from eval.attributes.head_networks import probabilities
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.attributes import Attribute
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher

EDGES = (0.0, 0.5, 1.0)  # no, yes: what a table of labels tells apart


class HeadsAnnotator(EmbeddingAnnotator):
    version = "1"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heads, self.passport, self.sha256 = load_heads(path)
        if not self.passport.used:
            raise InputError(f"{path}: none of its heads reached the floor; it measures nothing")
        self.name = f"heads-{path.name.removesuffix(SUFFIX)}"
        self.teacher_identity = self.passport.teacher
        self.frame = Frame(**self.passport.teacher["frame"])
        self.columns = [self.passport.attributes.index(name) for name in self.passport.used]
        self.attributes = tuple(
            Attribute(name, "probability", 0.0, 1.0, EDGES, f"that it has {name}")
            for name in self.passport.used
        )

    @cached_property
    def teacher(self) -> Teacher:
        """Loaded when a picture comes: cached embeddings need no network."""
        teacher = load_teacher(self.passport.teacher_address, layout.WEIGHTS)
        if teacher.identity() != self.passport.teacher:
            raise InputError(
                f"{self.path}: trained on another {teacher.name} than the one at hand; train the "
                "heads again"
            )
        return teacher

    def annotate_embeddings(
        self, embeddings: Float[np.ndarray, "face width"]
    ) -> Float[np.ndarray, "face attribute"]:
        return probabilities(self.heads, embeddings)[:, self.columns]

    def annotate(self, faces: AlignedFaces) -> Float[np.ndarray, "face attribute"]:
        pictures = torch.from_numpy(faces.images.copy()).permute(0, 3, 1, 2).float()
        return self.annotate_embeddings(in_fixed_batches(self.teacher.embed, pictures).numpy())

    def identity(self) -> dict[str, Any]:
        return super().identity() | {
            "file_sha256": self.sha256,
            "teacher": dict(self.passport.teacher),
            "used": list(self.passport.used),
        }


def load(argument: str) -> HeadsAnnotator:
    if not argument:
        raise InputError("annotator heads needs a file: heads:PATH")
    return HeadsAnnotator(Path(argument))
