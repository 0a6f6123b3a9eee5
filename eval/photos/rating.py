"""Photographs rated: what a student's quality head, other networks and the detector say of them.

Stored faces are rated by `facestill qualities`, which training may read; nothing reads these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from eval.benchmarks.base import Protocol
from eval.photos.embedding import embed_protocol
from eval.photos.models import Model
from manifests.core.digests import canonical_json, sha256_text
from pipeline.arrays.align import Face
from train.checkpoint import RatedStudent


def rating_model(rated: RatedStudent) -> Model:
    """A model whose outputs are a face's quality, and then its raw embedding."""
    student = rated.student

    def network(crops: Tensor) -> Tensor:
        qualities, embeddings = rated(crops)
        return torch.cat([qualities[:, None], embeddings], dim=1)

    return Model(
        student.folder.as_posix(), rating_sha256(rated), student.card.input_frame,
        student.card.metric, False, network,
    )  # fmt: skip


def rating_sha256(rated: RatedStudent) -> str:
    """Of student and quality head together."""
    return sha256_text(canonical_json([rated.student.sha256, rated.sha256]))


@dataclass(frozen=True)
class SeenPhotographs:
    """What models and the detector say of a benchmark's images, in the order of their names."""

    rows: Mapping[str, Float[np.ndarray, "image _"]]  # by model: raw outputs, of its own views
    detected: Bool[np.ndarray, " image"]
    detection: Float[np.ndarray, " image"]  # the detector's score; where it found no face, lowest


def look_at(protocol: Protocol, models: Mapping[str, Model]) -> SeenPhotographs:
    """Every model on the same found faces; where none was found, on the central box, as in
    verification."""
    views = [model.views for model in models.values()]
    embedded, faces = embed_protocol(protocol, [*models.values()], views)
    rows = {name: own.views[view] for name, own, view in zip(models, embedded, views, strict=True)}
    detected = np.array([face.detected for face in faces])
    return SeenPhotographs(rows, detected, detector_scores(faces))


def detector_scores(faces: list[Face]) -> Float[np.ndarray, " image"]:
    """A face that was not found is worse than any that was; NaN where nothing was detected, the
    images being aligned already."""
    scores = np.array([face.score for face in faces])
    lost = np.array([not face.detected for face in faces])
    found = scores[~lost]
    scores[lost] = (found.min() if len(found) else 0.0) - 1.0
    return scores
