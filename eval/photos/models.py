"""Models to measure: a run directory, `teacher:NAME` or `onnx:PATH`, behind one face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.teachers import load_teacher
from pipeline.teachers.onnx import load_file
from train.checkpoint import load_student


@dataclass(frozen=True)
class Model:
    """A network with the frame, metric and views that it declares for itself."""

    name: str
    sha256: str
    frame: Frame
    metric: str  # cosine, or euclidean (raw embeddings)
    mirrored: bool  # plain and mirrored outputs are summed
    network: Callable[[Tensor], Tensor]

    def embed(self, crops: Float[Tensor, "face 3 size size"]) -> Float[np.ndarray, "face width"]:
        """Embeddings of crops in the model's frame; unit length for the cosine metric."""

        def views(batch: Tensor) -> Tensor:
            plain = self.network(batch.contiguous(memory_format=torch.channels_last))
            if not self.mirrored:
                return plain
            flip = batch.flip(3).contiguous(memory_format=torch.channels_last)
            return plain + self.network(flip)

        rows = in_fixed_batches(views, crops).cpu().numpy().astype(np.float64)
        if self.metric == "cosine":
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows

    def similarity(
        self, left: Float[np.ndarray, "pair width"], right: Float[np.ndarray, "pair width"]
    ) -> Float[np.ndarray, " pair"]:
        """Higher is more alike: cosine, or the negated Euclidean distance."""
        if self.metric == "cosine":
            return (left * right).sum(axis=-1)
        return -np.linalg.norm(left - right, axis=-1)


def load_model(text: str, weights: Path) -> Model:
    """The model that `text` names: a run directory such as runs/mined-2, teacher:NAME, or
    onnx:PATH.

    Raises InputError for anything else, and for a file that does not declare how to use it.
    """
    kind, _, name = text.partition(":")
    if kind == "teacher" and name:
        teacher = load_teacher(name, weights)
        return Model(
            text, teacher.weights_sha256, teacher.frame, teacher.metric, False, teacher.embed
        )
    if kind == "onnx" and name:
        file = load_file(Path(name))
        mirrored = file.verification_views == "plain+flip"
        return Model(text, file.weights_sha256, file.frame, file.metric, mirrored, file.embed)
    if name:
        raise InputError(
            f"unknown model {text!r}; valid: a run directory, teacher:NAME, or onnx:PATH"
        )
    student = load_student(Path(text))
    mirrored = student.card.views == "plain+flip"
    card = student.card
    return Model(text, student.sha256, card.input_frame, card.metric, mirrored, student.network)
