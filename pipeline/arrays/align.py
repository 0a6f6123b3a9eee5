"""Alignment: a face's points, and the crop that they are brought to a frame by.

Training faces and photographs go through the same functions, so that a student meets at
evaluation what it met in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from pipeline.arrays.frames import Frame, warp
from pipeline.arrays.landmarks import ARCFACE5, Scheme


@dataclass(frozen=True)
class Face:
    """Five points (x, y) in the picture's own pixels, and the detector's score."""

    landmarks: Float[np.ndarray, "5 2"]
    score: float
    detected: bool = True
    others: int = 0  # further faces that were found in the picture
    scheme: Scheme = ARCFACE5  # of the points

    @property
    def eye_distance(self) -> float:
        """Between the eyes' centres, in the picture's own pixels."""
        return float(self.scheme.eye_distance(self.landmarks[None])[0])


def placed(frame: Frame, side: int) -> Face:
    """The face of a picture of `side` pixels that is a crop in this frame."""
    return Face(ARCFACE5.inside(frame.at(side)), float("nan"))


def crop_to_frame(
    pictures: Float[Tensor, "batch 3 height width"], faces: Sequence[Face], frame: Frame
) -> tuple[Float[Tensor, "batch 3 size size"], Float[np.ndarray, "batch 5 2"]]:
    """Crops whose landmarks lie as close as a similarity can bring them to the frame's.

    Returns the crops (whole numbers 0..255) and the landmarks in them. Bicubic: a small
    generator's picture is enlarged here.
    """
    matrices = np.stack([face.scheme.placement(face.landmarks, frame) for face in faces])
    crops = warp(pictures, torch.from_numpy(matrices).float(), frame.size, mode="bicubic")
    inverse = np.linalg.inv(matrices[:, :, :2])
    landmarks = np.stack([face.landmarks for face in faces])
    moved = (landmarks - matrices[:, None, :, 2]) @ inverse.transpose(0, 2, 1)
    return crops.clamp(0, 255).round(), moved


def crop_photograph(
    picture: UInt8[np.ndarray, "height width 3"], face: Face, frame: Frame
) -> Float[Tensor, "3 size size"]:
    """A photograph's crop in `frame`, averaged from a finer one where it has to shrink."""
    matrix = face.scheme.placement(face.landmarks, frame)
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))  # photograph pixels per crop pixel
    finer = max(1, int(np.ceil(shrink)))
    fine = frame.at(frame.size * finer)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    matrix = face.scheme.placement(face.landmarks, fine)
    crop = warp(pixels, torch.from_numpy(matrix).float()[None], fine.size)
    return functional.avg_pool2d(crop, finer)[0].clamp(0, 255).round()
