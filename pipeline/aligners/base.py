"""What an aligner promises. A backend is a file here with `load(weights) -> Aligner`.

An aligner finds the faces in a picture, and five points of each, by which crops are cut. Generated
pictures and photographs go through the same one, so that a student meets at evaluation what it met
in training.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from manifests.core.errors import InputError
from manifests.photographs.images import at_once
from pipeline.arrays.align import Face
from pipeline.arrays.frames import Frame
from pipeline.arrays.landmarks import SCHEMES, Scheme
from pipeline.arrays.numerics import Backend

Name = TypeVar("Name")
Picture = UInt8[np.ndarray, "_ _ 3"]  # height and width are each picture's own
# Which of several faces is meant, and how rules of alignment have it. Where the whole picture is
# a face nothing is detected.
CHOICES = {
    "central": "most central face",
    "largest": "largest face",
    "whole": "one that fills the picture",
}
# The box that a photograph without any face that was found is cut from: 75..175 of 250 (LFW's
# middle).
CENTRAL_BOX = (0.3, 0.7)
LEAST_SPREAD = 0.01  # of a face's points, in its box's side
NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")


@dataclass(frozen=True)
class Found:
    """The faces of one picture, in its own pixels; a pixel's centre lies at its index + 0.5."""

    boxes: Float[np.ndarray, "face 4"]  # left, top, right, bottom
    landmarks: Float[np.ndarray, "face 5 2"]
    scores: Float[np.ndarray, " face"]

    def __len__(self) -> int:
        return len(self.scores)

    def kept(self, rows: Bool[np.ndarray, " face"] | slice) -> Found:
        """Some of them."""
        return Found(self.boxes[rows], self.landmarks[rows], self.scores[rows])

    def sound(self, height: int, width: int) -> Found:
        """Without those by which no crop can be cut: a box much larger than the picture, points
        that fall together or lie more than a box's side outside of it."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        low, high = (self.boxes[:, :2] - sides)[:, None], (self.boxes[:, 2:] + sides)[:, None]
        inside = ((self.landmarks >= low) & (self.landmarks <= high)).all(axis=(1, 2))
        spread = self.landmarks.std(axis=1).max(axis=1) > LEAST_SPREAD * sides.max(axis=1)
        return self.kept(inside & spread & (sides.max(axis=1) <= 2 * max(height, width)))

    def scaled(self, ratio: float) -> Found:
        """In a picture of `ratio` times as many pixels a side."""
        return Found(self.boxes * ratio, self.landmarks * ratio, self.scores)

    def chosen(self, height: int, width: int, choice: str, scheme: Scheme) -> Face | None:
        """The face that is meant, by a rule of CHOICES; None where there is none."""
        if not len(self):
            return None
        if choice == "largest":
            key = -np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)
        else:
            middle = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2 - (width / 2, height / 2)
            key = (middle**2).sum(axis=1)
        meant = int(np.argmin(key))
        others = len(self) - 1
        return Face(self.landmarks[meant], float(self.scores[meant]), True, others, scheme)


NOTHING = Found(np.empty((0, 4)), np.empty((0, 5, 2)), np.empty(0))


class Aligner(Backend):
    """Pictures in, faces out; what is found in a picture depends on that picture alone."""

    scheme: Scheme  # of its points

    @property
    @abstractmethod
    def looks(self) -> str:
        """How photographs are looked at, in the words of a rule of alignment."""

    @property
    @abstractmethod
    def falls_back(self) -> str:
        """And what is done where nothing is found."""

    @abstractmethod
    def detect(
        self, pictures: Float[Tensor, "batch 3 height width"], *, size: int, threshold: float
    ) -> list[Found]:
        """The faces of scores above `threshold` in RGB pictures, whole numbers in [0, 255], which
        are looked at `size` pixels a side: for generated ones, which a face fills."""

    @abstractmethod
    def photographs(self, pictures: Sequence[Picture]) -> list[Found]:
        """The faces of photographs, each of a size of its own."""

    @abstractmethod
    def place(self, picture: Picture, box: Sequence[float]) -> Float[np.ndarray, "5 2"]:
        """The points of the face that is said to fill a box (left, top, right, bottom)."""

    def identity(self) -> dict[str, Any]:
        """What must be equal for two stores to hold faces that were found alike."""
        return {
            "aligner": self.name,
            "weights_sha256": self.weights_sha256,
            "landmark_scheme": self.scheme.name,
        }

    def photographs_identity(self) -> dict[str, Any]:
        """The same for faces that were found in photographs."""
        return self.identity() | {"rule": self.rule("central")}

    def licences(self) -> dict[str, str]:
        """What passports state of it, by its name."""
        return {self.name: self.licence}

    def rule(self, choice: str) -> str:
        """How photographs are aligned, for the hash of a protocol."""
        return f"{self.looks}; {CHOICES[choice]}; {self.falls_back}"

    def find(self, pictures: Sequence[Picture], choice: str = "central") -> list[Face]:
        """The face that is meant in each photograph; where none is found, the central box."""
        if choice == "whole":
            return [self._filling(picture) for picture in pictures]
        return [
            self._meant(found, *picture.shape[:2], choice=choice) or self._in_middle(picture)
            for picture, found in zip(pictures, self.photographs(pictures), strict=True)
        ]

    def find_generated(
        self, pictures: Float[Tensor, "batch 3 size size"], *, size: int, threshold: float
    ) -> list[Face | None]:
        """The most central face of each generated picture."""
        found = self.detect(pictures, size=size, threshold=threshold)
        side = pictures.shape[-1]
        return [self._meant(each, side, side, choice="central") for each in found]

    def _meant(self, found: Found, height: int, width: int, *, choice: str) -> Face | None:
        return found.sound(height, width).chosen(height, width, choice, self.scheme)

    def _filling(self, picture: Picture) -> Face:
        height, width = picture.shape[:2]
        return Face(
            self.place(picture, (0.0, 0.0, float(width), float(height))),
            float("nan"),
            scheme=self.scheme,
        )

    def _in_middle(self, picture: Picture) -> Face:
        height, width = picture.shape[:2]
        low, high = CENTRAL_BOX
        box = (width * low, height * low, width * high, height * high)
        return Face(self.place(picture, box), float("nan"), False, 0, self.scheme)


# Crops are looked at to see whether they are in the frame that they are said to be in: the median
# place of detected points, in sides of the crop. Of ORL and LFW cut to arcface112 it is 0.014 and
# 0.017 off by the default aligner (dlib 0.013, yunet 0.027), uncut or cut to dlib150 0.075 and more
# (dlib 0.048, yunet 0.077): `python -m tests.bench.aligners`.
LOOKED_AT, LEAST_FOUND, MOST_OFF = 40, 3, 0.03


def misplaced(
    aligner: Aligner, frame: Frame, names: Sequence[Name], read: Callable[[Name], Picture]
) -> str | None:
    """What speaks against square pictures being crops in `frame`; None where nothing does, or
    where too few faces are found. A few of the pictures, evenly, are read by their names."""
    count = len(names)
    numbers = np.unique(np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(int)).tolist()
    places = [
        off
        for pictures in at_once(read(names[number]) for number in numbers)
        for off in offsets(aligner, frame, pictures)
    ]
    off = float(np.median(places)) if len(places) >= LEAST_FOUND else 0.0
    if off <= MOST_OFF:
        return None
    return (
        f"no crops in the frame {frame.name}: the faces found in {len(places)} of them lie "
        f"{off:.1%} of the side from where it has them (median; at most {MOST_OFF:.0%})"
    )


def offsets(aligner: Aligner, frame: Frame, pictures: Sequence[Picture]) -> list[float]:
    """How far the points of each face that is found in square pictures lie from where `frame` has
    them: the mean, in sides of the picture."""
    goal = aligner.scheme.inside(frame.at(1))
    return [
        float(np.abs(face.landmarks / len(picture) - goal).mean())
        for picture, face in zip(pictures, aligner.find(pictures), strict=True)
        if face.detected
    ]


def check_aligner(aligner: Aligner, what: str) -> None:
    """Tries an aligner on pictures of noise and of a drawn face. Raises InputError for one whose
    faces are no finite numbers of the stated shapes, that gives others the second time, or others
    in other company."""
    _check_words(aligner, what)
    pictures = _trial_pictures()
    others = torch.cat([255 - pictures.flip(0), pictures])
    first, again, moved = (
        aligner.detect(each, size=TRIAL_SIDE, threshold=0.0)
        for each in (pictures, pictures, others)
    )
    images = [each.permute(1, 2, 0).byte().numpy() for each in pictures]
    seen = aligner.photographs([image[: TRIAL_SIDE - 8 * row] for row, image in enumerate(images)])
    for found, count in ((first, len(pictures)), (moved, len(others)), (seen, len(images))):
        if len(found) != count:
            raise InputError(f"{what}: faces of {len(found)} pictures, {count} were given")
        for fault in filter(None, map(_fault_of, found)):
            raise InputError(f"{what}: {fault}")
    if any(_off(*both) > 0 for both in zip(first, again, strict=True)):
        raise InputError(f"{what}: finds other faces in the same pictures the second time")
    if any(_off(*both) > MOST_MOVED for both in zip(first, moved[len(first) :], strict=True)):
        raise InputError(
            f"{what}: what it finds in a picture depends on the others of its batch; call its "
            "network in one batch shape, or a picture at a time"
        )


def _check_words(aligner: Aligner, what: str) -> None:
    """What rules of alignment, and those who look for an aligner by them, rely on."""
    if aligner.scheme not in SCHEMES.values():
        raise InputError(
            f"{what}: points of scheme {aligner.scheme.name[:40]!r}; expected one of "
            f"{', '.join(SCHEMES)} (pipeline.arrays.landmarks), by which crops are cut"
        )
    for text in (aligner.looks, aligner.falls_back):
        if not text.isprintable() or any(words in text for words in CHOICES.values()):
            raise InputError(f"{what}: says {text[:80]!r} of itself; expected one line of its own")
    if not NAME.fullmatch(aligner.name) or aligner.looks.split()[:1] != [aligner.name]:
        raise InputError(
            f"{what}: calls itself {aligner.name[:80]!r} and looks by {aligner.looks[:80]!r}; "
            "expected letters, digits, '.', '-' and '_', and looks that begin with that name"
        )


TRIAL_SIDE = 96  # pixels
MOST_MOVED = 0.05  # pixels: another order of summation


def _trial_pictures() -> Float[Tensor, "4 3 side side"]:
    noise = 255 * torch.rand(
        3, 3, TRIAL_SIDE, TRIAL_SIDE, generator=torch.Generator().manual_seed(0)
    )
    drawn = Image.new("RGB", (TRIAL_SIDE, TRIAL_SIDE), (90, 110, 130))
    pen = ImageDraw.Draw(drawn)
    pen.ellipse((18, 8, 78, 90), (224, 180, 150))
    for part in ((32, 36, 42, 42), (54, 36, 64, 42), (44, 56, 52, 60), (38, 70, 58, 75)):
        pen.ellipse(part, (80, 40, 40))
    face = torch.from_numpy(np.array(drawn)).permute(2, 0, 1)[None].float()
    return torch.cat([noise.round(), face])


def _fault_of(found: Found) -> str | None:
    wanted = {"boxes": (4,), "landmarks": (5, 2), "scores": ()}
    for part, shape in wanted.items():
        values = np.asarray(getattr(found, part))
        if values.shape != (len(found.scores), *shape):
            return f"{part} of shape {list(values.shape)}, expected {['face', *shape]}"
        if values.dtype != np.float64 or not np.isfinite(values).all():
            return f"{part} of {values.dtype} that are no finite float64 numbers"
    if (found.boxes[:, :2] >= found.boxes[:, 2:]).any():
        return "boxes that do not go from left to right and from top to bottom"
    return None


def _off(one: Found, other: Found) -> float:
    """How far the faces of one picture lie apart at most; endless where there are more of them."""
    if len(one) != len(other):
        return float("inf")
    parts = ("boxes", "landmarks", "scores")
    return max(np.abs(getattr(one, p) - getattr(other, p)).max(initial=0) for p in parts)
