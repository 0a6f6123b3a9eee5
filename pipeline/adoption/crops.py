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

from manifests.building.ledger import LedgerLine
from manifests.building.writing import Task
from manifests.core.errors import InputError
from manifests.photographs.images import DECODER, ImageFolder, decode
from manifests.stores.reading import OK
from pipeline.arrays.align import Aligner, Face, crop_photograph, find_in_photograph, load_aligner
from pipeline.arrays.frames import Frame, dlib5_in, similarity
from pipeline.arrays.numerics import numerics, require_numerics
from pipeline.building.faces import Faces, blank, write_faces

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


def numerics_here() -> dict[str, Any]:
    return numerics("cpu") | {"dlib": dlib.__version__, "decoder": DECODER}


@dataclass(frozen=True)
class AdoptJob:
    """Cuts the images of one shard; travels to worker processes."""

    work: Path
    root: Path
    weights: Path
    source: Frame | None
    frame: Frame
    shard_rows: int
    numerics: tuple[tuple[str, Any], ...]  # which every worker must compute with
    input_hash: str

    def __call__(self, task: Task) -> LedgerLine:
        return write_faces(self.work, task, self.faces(task), self.shard_rows, self.input_hash)

    def faces(self, task: Task) -> Faces:
        """Raises InputError for an image that is no longer the one that was listed."""
        aligner = load_aligner(self.weights, DETECT_THRESHOLD)
        pictures, number = self._pictures(task), task.stop - task.start
        return adopt_faces(pictures, number, aligner, self.source, self.frame)

    def _pictures(self, task: Task) -> Iterator[np.ndarray]:
        source = ImageFolder(self.root)
        for name, wanted in _listing(self)[task.start : task.stop]:
            data = source.read(name)
            if sha256(data).hexdigest() != wanted:
                raise InputError(f"{source.where(name)}: changed since the build began")
            yield decode(data, source.where(name))


@lru_cache(maxsize=1)
def _listing(job: AdoptJob) -> list[tuple[str, str]]:
    require_numerics(dict(job.numerics), numerics_here())
    return [(name, sha) for name, sha in json.loads((job.work / LISTING).read_bytes())]
