"""Alignment: dlib's detector and five landmarks, then a similarity into the wanted frame.

Training faces and photographs go through the same functions, so that a student meets at
evaluation what it met in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import dlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame, dlib5_in, similarity, warp
from pipeline.arrays.numerics import weights_path

Name = TypeVar("Name")

LANDMARKS = "shape_predictor_5_face_landmarks.dat"
LANDMARK_SCHEME = "dlib5"
# Crops are looked at to see whether they are in the frame that they are said to be in: the median
# place of detected landmarks, in sides of the crop. Of ORL and LFW cut to a frame it is 0.008 to
# 0.010 off; uncut it is 0.044 (LFW) and 0.047 (ORL) off arcface112, and cut to dlib150 0.073.
LOOKED_AT, LEAST_FOUND, MOST_OFF = 40, 3, 0.03
# The box that a photograph without any detected face is cut from: 75..175 of 250 (LFW's middle).
CENTRAL_BOX = (0.3, 0.7)


@dataclass(frozen=True)
class Face:
    """Five landmarks (x, y) in the picture's own pixels, and the detector's score."""

    landmarks: Float[np.ndarray, "5 2"]
    score: float
    detected: bool = True
    others: int = 0  # further faces that were detected in the picture

    @property
    def eye_distance(self) -> float:
        """Between the eyes' centres, in the picture's own pixels."""
        return float(eye_distance(self.landmarks[None])[0])


class Aligner:
    """The detector (HOG, five poses) and the landmark predictor; cheap to keep, not picklable."""

    def __init__(self, weights: Path, *, threshold: float) -> None:
        self.detector: Any = dlib.get_frontal_face_detector()
        path = weights_path(weights, LANDMARKS)
        try:
            self.predictor: Any = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise InputError(f"{path}: not a dlib shape predictor ({error})") from None
        self.threshold = threshold

    def most_central(self, picture: UInt8[np.ndarray, "height width 3"]) -> Face | None:
        """The detected face nearest to the middle, or None."""
        boxes, scores, _ = self.detector.run(picture, 0, self.threshold)
        if not boxes:
            return None
        height, width = picture.shape[:2]
        offsets = [
            (box.dcenter().x - width / 2) ** 2 + (box.dcenter().y - height / 2) ** 2
            for box in boxes
        ]
        nearest = int(np.argmin(offsets))
        landmarks = self._landmarks(picture, boxes[nearest])
        return Face(landmarks, float(scores[nearest]), others=len(boxes) - 1)

    def in_middle(self, picture: UInt8[np.ndarray, "height width 3"]) -> Face:
        """The landmarks predicted in the central box, for a picture where nothing was found."""
        height, width = picture.shape[:2]
        low, high = CENTRAL_BOX
        box = dlib.rectangle(
            int(width * low), int(height * low), int(width * high), int(height * high)
        )
        return Face(self._landmarks(picture, box), float("nan"), detected=False)

    def _landmarks(self, picture: np.ndarray, box: Any) -> np.ndarray:
        parts = self.predictor(picture, box).parts()
        return np.array([(part.x, part.y) for part in parts], dtype=np.float64) + 0.5


def alignment_identity(weights: Path) -> dict[str, str]:
    """What landmarks depend on beside the picture: the detector and the predictor's weights."""
    return {
        "detector": "dlib frontal HOG",
        "landmark_scheme": LANDMARK_SCHEME,
        "landmark_sha256": sha256_file(weights_path(weights, LANDMARKS)),
    }


def eye_centres(landmarks: Float[np.ndarray, "face 5 2"]) -> Float[np.ndarray, "face 2 2"]:
    """Half-way between the corners: the eye on the right of the picture, then the left one."""
    return (landmarks[:, [0, 2]] + landmarks[:, [1, 3]]) / 2


def eye_distance(landmarks: Float[np.ndarray, "face 5 2"]) -> Float[np.ndarray, " face"]:
    """Between the eyes' centres, in the landmarks' pixels."""
    eyes = eye_centres(landmarks)
    return np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)


@lru_cache(maxsize=2)
def load_aligner(weights: Path, threshold: float) -> Aligner:
    """One aligner a process and setting."""
    return Aligner(weights, threshold=threshold)


def enlarge(
    pictures: Float[Tensor, "batch 3 height width"], size: int
) -> UInt8[np.ndarray, "batch size size 3"]:
    """Square pictures resampled (bicubic) for the detector, whose smallest face is 80 pixels."""
    big = functional.interpolate(pictures, (size, size), mode="bicubic", align_corners=False)
    rounded = big.clamp(0, 255).round().to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def find_faces(
    aligner: Aligner, pictures: Float[Tensor, "batch 3 height width"], *, detect_size: int
) -> list[Face | None]:
    """The most central face of each generated picture, landmarks in its own pixels."""
    ratio = pictures.shape[-1] / detect_size
    found = [aligner.most_central(picture) for picture in enlarge(pictures, detect_size)]
    return [face and replace(face, landmarks=face.landmarks * ratio) for face in found]


def find_in_photograph(aligner: Aligner, picture: UInt8[np.ndarray, "height width 3"]) -> Face:
    """The most central face; retried at twice the size, then taken from the central box."""
    face = aligner.most_central(picture)
    if face is not None:
        return face
    height, width = picture.shape[:2]
    doubled = np.asarray(
        Image.fromarray(picture).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    )
    face = aligner.most_central(doubled)
    if face is not None:
        return replace(face, landmarks=face.landmarks / 2.0)
    return aligner.in_middle(picture)


def misplaced(
    aligner: Aligner,
    frame: Frame,
    names: Sequence[Name],
    read: Callable[[Name], UInt8[np.ndarray, "_ _ 3"]],
) -> str | None:
    """What speaks against square pictures being crops in `frame`; None where nothing does, or
    where too few faces are found. A few of the pictures, evenly, are read by their names."""
    goal, count = dlib5_in(frame.at(1)), len(names)
    places = []
    for number in np.unique(np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(int)).tolist():
        picture = read(names[number])
        face = find_in_photograph(aligner, picture)
        if face.detected:
            places.append(np.abs(face.landmarks / len(picture) - goal).mean())
    off = float(np.median(places)) if len(places) >= LEAST_FOUND else 0.0
    if off <= MOST_OFF:
        return None
    return (
        f"no crops in the frame {frame.name}: the faces found in {len(places)} of them lie "
        f"{off:.1%} of the side from where it has them (median; at most {MOST_OFF:.0%})"
    )


def crop_to_frame(
    pictures: Float[Tensor, "batch 3 height width"],
    landmarks: Float[np.ndarray, "batch 5 2"],
    frame: Frame,
) -> tuple[Float[Tensor, "batch 3 size size"], Float[np.ndarray, "batch 5 2"]]:
    """Crops whose landmarks lie as close as a similarity can bring them to the frame's.

    Returns the crops (whole numbers 0..255) and the landmarks in them. Bicubic: a small
    generator's picture is enlarged here.
    """
    goal = dlib5_in(frame)
    matrices = np.stack([similarity(points, goal) for points in landmarks])
    crops = warp(pictures, torch.from_numpy(matrices).float(), frame.size, mode="bicubic")
    inverse = np.linalg.inv(matrices[:, :, :2])
    moved = (landmarks - matrices[:, None, :, 2]) @ inverse.transpose(0, 2, 1)
    return crops.clamp(0, 255).round(), moved


def crop_photograph(
    picture: UInt8[np.ndarray, "height width 3"], face: Face, frame: Frame
) -> Float[Tensor, "3 size size"]:
    """A photograph's crop in `frame`, averaged from a finer one where it has to shrink."""
    matrix = similarity(face.landmarks, dlib5_in(frame))
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))  # photograph pixels per crop pixel
    finer = max(1, int(np.ceil(shrink)))
    fine = frame.at(frame.size * finer)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    matrix = similarity(face.landmarks, dlib5_in(fine))
    crop = warp(pixels, torch.from_numpy(matrix).float()[None], fine.size)
    return functional.avg_pool2d(crop, finer)[0].clamp(0, 255).round()
