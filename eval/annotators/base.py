"""What an annotator promises: a file here with `load(argument) -> Annotator`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from manifests.records.attributes import Attribute
from pipeline.arrays.frames import Frame
from pipeline.arrays.landmarks import Scheme

ROWS = 128  # faces that are handed to an annotator at a time: they fit in the processor's cache


@dataclass(frozen=True)
class AlignedFaces:
    """Usable faces, cut to an annotator's frame."""

    images: UInt8[np.ndarray, "face size size 3"]
    landmarks: Float[np.ndarray, "face 5 2"]  # in those images; NaN: not known
    # The same in the picture that the face was cut from, whose tilt and size are gone from the
    # crop; NaN: not kept
    source_landmarks: Float[np.ndarray, "face 5 2"]
    scheme: Scheme  # which five points they are

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, some: slice | Int[np.ndarray, " row"]) -> AlignedFaces:
        """Some of them."""
        kept = self.images[some], self.landmarks[some], self.source_landmarks[some]
        return AlignedFaces(*kept, self.scheme)


class Annotator(ABC):
    """Measures attributes of faces; each row depends on its own face alone."""

    name: str
    version: str  # raise it when the same faces would get other values
    frame: Frame
    attributes: tuple[Attribute, ...]

    @abstractmethod
    def annotate(self, faces: AlignedFaces) -> Float[np.ndarray, "face attribute"]:
        """A value for each of `attributes` within its range, or NaN where it is undefined."""

    def identity(self) -> dict[str, Any]:
        """What must be equal for the values of two tables to be compared."""
        return {"name": self.name, "version": self.version, "frame": asdict(self.frame)}


class EmbeddingAnnotator(Annotator):
    """An annotator that looks at a teacher's embeddings: of a round it reads those in the store."""

    teacher_identity: Mapping[str, Any]  # whose; no other teacher's are read

    @abstractmethod
    def annotate_embeddings(
        self, embeddings: Float[np.ndarray, "face width"]
    ) -> Float[np.ndarray, "face attribute"]:
        """As `annotate`, from raw embeddings of the plain view; NaN where they are NaN."""
