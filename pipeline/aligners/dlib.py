"""dlib's detector of 2009's kind (HOG, five poses) and its five points, without a mouth.

Stores that were recorded before aligners could be chosen are of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.aligners.base import NOTHING, Aligner, Found, Picture
from pipeline.arrays.landmarks import DLIB5
from pipeline.arrays.numerics import weights_path

WEIGHTS = "shape_predictor_5_face_landmarks.dat"
# Photographs have backgrounds that a lower threshold than dlib's own finds faces in.
THRESHOLD = 0.0


class Dlib(Aligner):
    name = "dlib"
    scheme = DLIB5
    licence = "BSL-1.0 (dlib), CC0-1.0 (its landmarks)"
    looks = "dlib HOG, score > 0, + dlib5"
    falls_back = "retry at 2x; then the box 0.3..0.7"

    def __init__(self, predictor: Any, weights_sha256: str) -> None:
        self.detector: Any = dlib.get_frontal_face_detector()
        self.predictor = predictor
        self.weights_sha256 = weights_sha256

    def to(self, device: torch.device) -> None:
        """It runs on the CPU wherever the pictures come from."""

    def numerics(self) -> dict[str, str]:
        return {"dlib": dlib.__version__}

    def identity(self) -> dict[str, Any]:
        """In the words of the first stores, so that theirs is equal."""
        return {
            "detector": "dlib frontal HOG",
            "landmark_scheme": self.scheme.name,
            "landmark_sha256": self.weights_sha256,
        }

    def photographs_identity(self) -> dict[str, Any]:
        return self.identity() | {"detect_threshold": THRESHOLD}

    def licences(self) -> dict[str, str]:
        """None, as the first stores have it: its parts ask for nothing."""
        return {}

    def detect(
        self, pictures: Float[Tensor, "batch 3 height width"], *, size: int, threshold: float
    ) -> list[Found]:
        ratio = max(pictures.shape[-2:]) / size
        return [self._faces(big, threshold).scaled(ratio) for big in enlarge(pictures, size)]

    def photographs(self, pictures: Sequence[Picture]) -> list[Found]:
        """Retried at twice the size."""
        return [self._photograph(picture) for picture in pictures]

    def _photograph(self, picture: Picture) -> Found:
        found = self._faces(picture, THRESHOLD)
        if len(found):
            return found
        height, width = picture.shape[:2]
        doubled = Image.fromarray(picture).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
        return self._faces(np.asarray(doubled), THRESHOLD).scaled(0.5)

    def place(self, picture: Picture, box: Sequence[float]) -> Float[np.ndarray, "5 2"]:
        return self._landmarks(picture, dlib.rectangle(*(int(end) for end in box)))

    def _faces(self, picture: Picture, threshold: float) -> Found:
        boxes, scores, _ = self.detector.run(picture, 0, threshold)
        if not boxes:
            return NOTHING
        # The detector's own middle of a box is that of its first and last pixel.
        ends = [(box.left(), box.top(), box.right(), box.bottom()) for box in boxes]
        landmarks = np.stack([self._landmarks(picture, box) for box in boxes])
        return Found(np.array(ends, float), landmarks, np.array(scores, float))

    def _landmarks(self, picture: Picture, box: Any) -> Float[np.ndarray, "5 2"]:
        parts = self.predictor(picture, box).parts()
        return np.array([(part.x, part.y) for part in parts], dtype=np.float64) + 0.5


def load(weights: Path) -> Dlib:
    path = weights_path(weights, WEIGHTS)
    try:
        predictor: Any = dlib.shape_predictor(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: not a dlib shape predictor ({error})") from None
    return Dlib(predictor, sha256_file(path))


def enlarge(
    pictures: Float[Tensor, "batch 3 height width"], size: int
) -> UInt8[np.ndarray, "batch _ _ 3"]:
    """Pictures resampled (bicubic) to a longest side of `size` for the detector, whose smallest
    face is 80 pixels."""
    height, width = (round(side * size / max(pictures.shape[-2:])) for side in pictures.shape[-2:])
    big = functional.interpolate(pictures, (height, width), mode="bicubic", align_corners=False)
    rounded = big.clamp(0, 255).round().to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()
