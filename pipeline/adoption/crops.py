"""The faces in images that exist already, cut to the stored frame, shard by shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from manifests.core.errors import InputError
from manifests.photographs.images import DECODER, ImageSource, at_once, decode
from manifests.stores.passport import Fingerprint
from manifests.stores.reading import OK
from pipeline.adoption.listings import read_listing
from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner
from pipeline.arrays.align import Face, crop_photograph, placed
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import numerics
from pipeline.building.faces import Faces, blank
from pipeline.building.meeting import require_made_by
from pipeline.building.shards import Arrays

NOWHERE = np.full((5, 2), np.nan)


def adopt_faces(
    pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]],
    count: int,
    aligner: Aligner,
    source: Frame | None,
    frame: Frame,
) -> Faces:
    """`count` pictures, of which a few at a time are held, cut to `frame`: from where their own
    frame `source` has the face, or where one is detected. One without a face keeps its row,
    black."""
    faces, row = blank(count, frame), 0
    for some in at_once(pictures):
        found = [placed(source, len(each)) for each in some] if source else aligner.find(some)
        for picture, face in zip(some, found, strict=True):
            if face.detected:
                crop = crop_photograph(picture, face, frame)
                faces.images[row] = crop.permute(1, 2, 0).byte().numpy()
                faces.landmarks[row] = NOWHERE if source else moved(face, frame)
                faces.quality[row] = face.score
                faces.ok[row], faces.reason[row] = True, OK
            row += 1
    return faces


def moved(face: Face, frame: Frame) -> Float[np.ndarray, "5 2"]:
    """Where a face's points come to lie in the crop that is cut by them."""
    matrix = face.scheme.placement(face.landmarks, frame)
    return (face.landmarks - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def made_here(aligner: Aligner, source: Frame | None) -> Fingerprint:
    """What the crops depend on beside the pictures: what finds the faces, where some are to be
    found. Detection and cutting stay on the CPU."""
    identity: dict[str, Any] = {}
    if source is None:
        identity["alignment"] = aligner.photographs_identity()
    here = numerics("cpu") | aligner.numerics() | {"decoder": DECODER}
    return Fingerprint(identity, here)


@dataclass(frozen=True)
class AdoptJob:
    """Cuts rows of an image set; travels to worker processes."""

    listing: Path  # see `pipeline.adoption.listings`
    weights: Path
    aligner: str
    source: Frame | None
    frame: Frame
    made_by: str  # see `made_here`: as every worker must find it where it works

    def __call__(self, rows: np.ndarray) -> Arrays:
        """Raises InputError for an image that is no longer the one that was listed."""
        aligner = load_aligner(self.aligner, self.weights)
        faces = adopt_faces(self._pictures(rows), len(rows), aligner, self.source, self.frame)
        return vars(faces)

    def _pictures(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        source, listed = _listing(self)
        for name, wanted in (listed[row] for row in rows):
            data = source.read(name)
            if sha256(data).hexdigest() != wanted:
                raise InputError(f"{source.where(name)}: changed since the build began")
            yield decode(data, source.where(name))


@lru_cache(maxsize=1)
def _listing(job: AdoptJob) -> tuple[ImageSource, list[tuple[str, str]]]:
    require_made_by(job.made_by, made_here(load_aligner(job.aligner, job.weights), job.source))
    return read_listing(job.listing)
