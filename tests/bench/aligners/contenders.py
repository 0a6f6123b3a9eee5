"""Aligners with the attempts that they are used with, and what they find in generated pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.progress import Bar
from manifests.settings.params import Detection
from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner
from pipeline.arrays.align import Face
from pipeline.arrays.numerics import BATCH

DEFAULT = "yunet-onet"
ALIGNERS = {
    "dlib": (Detection(112, -0.4),),  # the default run's, before aligners could be chosen
    "yunet": (Detection(64, 0.5),),
    DEFAULT: (Detection(64, 0.5), Detection(96, 0.5)),
}
Pictures = Float[Tensor, "face 3 size size"]


@dataclass(frozen=True)
class Contender:
    name: str
    aligner: Aligner
    attempts: tuple[Detection, ...]

    def described(self) -> dict[str, Any]:
        attempts = [asdict(attempt) for attempt in self.attempts]
        return self.aligner.identity() | {"attempts": attempts, "licence": self.aligner.licence}

    def look(
        self,
        pictures: Pictures,
        *,
        attempt: int = 0,
        rows: int = BATCH,
        threshold: float | None = None,
    ) -> list[Face | None]:
        """By one of the attempts alone, or with another threshold; so many pictures at once."""
        own = self.attempts[attempt]
        least = own.detect_threshold if threshold is None else threshold
        return [
            face
            for batch in batches(pictures, rows)
            for face in self.aligner.find_generated(batch, size=own.detect_size, threshold=least)
        ]


@dataclass(frozen=True)
class Seen:
    """What one found in each picture, and by which of its attempts."""

    faces: list[Face | None]
    attempt: list[int]

    def by_first(self) -> list[Face | None]:
        return [
            None if attempt else face
            for face, attempt in zip(self.faces, self.attempt, strict=True)
        ]  # fmt: skip


def batches(pictures: Pictures, rows: int = BATCH) -> list[Pictures]:
    return [pictures[at : at + rows] for at in range(0, len(pictures), rows)]


def open_contenders(names: Sequence[str], weights: Path) -> list[Contender]:
    """Those that have no attempts of their own get the default's."""
    return [
        Contender(called(name), load_aligner(name, weights), ALIGNERS.get(name, ALIGNERS[DEFAULT]))
        for name in names
    ]


def called(text: str) -> str:
    """NAME:PATH in a table that others read: without the folders of this machine."""
    return Path(text.partition(":")[2] or text).name


def find(contender: Contender, pictures: Pictures, what: str = "generated") -> Seen:
    """As rendering looks: pictures in which an attempt finds no face are shown to the next."""
    faces: list[Face | None] = []
    attempts: list[int] = []
    for batch in Bar(batches(pictures), desc=f"{contender.name}: {what}", unit="batch"):
        seen = _attempts(contender, batch)
        faces += seen.faces
        attempts += seen.attempt
    return Seen(faces, attempts)


def _attempts(contender: Contender, batch: Tensor) -> Seen:
    faces: list[Face | None] = [None] * len(batch)
    by = [0] * len(batch)
    for number in range(len(contender.attempts)):
        left = [row for row, face in enumerate(faces) if face is None]
        if not left:
            break
        found = contender.look(batch[torch.tensor(left)], attempt=number)
        for row, face in zip(left, found, strict=True):
            faces[row], by[row] = face, number
    return Seen(faces, by)
