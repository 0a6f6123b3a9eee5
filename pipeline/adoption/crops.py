"""The faces in images that exist already, cut to the stored frame, shard by shard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import dlib
import numpy as np
from jaxtyping import Float, UInt8

from manifests.core.errors import InputError
from manifests.photographs.images import DECODER, ImageFolder, decode
from manifests.stores.passport import Fingerprint
from manifests.stores.reading import OK
from pipeline.arrays.align import (
    Aligner,
    Face,
    alignment_identity,
    crop_photograph,
    find_in_photograph,
    load_aligner,
)
from pipeline.arrays.frames import Frame, dlib5_in, similarity
from pipeline.arrays.numerics import numerics
from pipeline.building.faces import Faces, blank
from pipeline.building.meeting import require_made_by
from pipeline.building.shards import Arrays

DETECT_THRESHOLD = 0.0  # dlib's own, as for photographs
LISTING = "images.json"  # in the scratch folder: [name, sha256] of every row
NOWHERE = np.full((5, 2), np.nan)


def adopt_faces(
    pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]],
    count: int,
    aligner: Aligner,
    source: Frame | None,
    frame: Frame,
) -> Faces:
    """`count` pictures, of which one at a time is held, cut to `frame`: from where their own frame
    `source` has the face, or where one is detected. One without a face keeps its row, black."""
    faces = blank(count, frame)
    for row, picture in enumerate(pictures):
        face = _face(picture, aligner, source)
        if face is not None:
            crop = crop_photograph(picture, face, frame)
            faces.images[row] = crop.permute(1, 2, 0).byte().numpy()
            faces.landmarks[row] = NOWHERE if source else moved(face.landmarks, frame)
            faces.quality[row] = face.score
            faces.ok[row], faces.reason[row] = True, OK
    return faces


def _face(picture: np.ndarray, aligner: Aligner, source: Frame | None) -> Face | None:
    if source is not None:
        return Face(dlib5_in(source.at(len(picture))), float("nan"))
    face = find_in_photograph(aligner, picture)
    return face if face.detected else None


def moved(landmarks: Float[np.ndarray, "5 2"], frame: Frame) -> Float[np.ndarray, "5 2"]:
    """Where landmarks come to lie in the crop that is cut by them."""
    matrix = similarity(landmarks, dlib5_in(frame))
    return (landmarks - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def made_here(weights: Path, source: Frame | None) -> Fingerprint:
    """What the crops depend on beside the pictures: what finds the faces, where some are to be
    found. Detection and cutting stay on the CPU."""
    identity: dict[str, Any] = {}
    if source is None:
        finds = alignment_identity(weights) | {"detect_threshold": DETECT_THRESHOLD}
        identity["alignment"] = finds
    here = numerics("cpu") | {"dlib": dlib.__version__, "decoder": DECODER}
    return Fingerprint(identity, here)


@dataclass(frozen=True)
class AdoptJob:
    """Cuts rows of an image set; travels to worker processes."""

    listing: Path  # see LISTING
    root: Path
    weights: Path
    source: Frame | None
    frame: Frame
    made_by: str  # see `made_here`: as every worker must find it where it works

    def __call__(self, rows: np.ndarray) -> Arrays:
        """Raises InputError for an image that is no longer the one that was listed."""
        aligner = load_aligner(self.weights, DETECT_THRESHOLD)
        faces = adopt_faces(self._pictures(rows), len(rows), aligner, self.source, self.frame)
        return vars(faces)

    def _pictures(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        source, listed = ImageFolder(self.root), _listing(self)
        for name, wanted in (listed[row] for row in rows):
            data = source.read(name)
            if sha256(data).hexdigest() != wanted:
                raise InputError(f"{source.where(name)}: changed since the build began")
            yield decode(data, source.where(name))


@lru_cache(maxsize=1)
def _listing(job: AdoptJob) -> list[tuple[str, str]]:
    require_made_by(job.made_by, made_here(job.weights, job.source))
    return [(name, sha) for name, sha in json.loads(job.listing.read_bytes())]
