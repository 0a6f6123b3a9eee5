"""Aligners of one network that looks at a whole picture: on square canvases of a few sizes, so that
the same picture gives the same bits in any company."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from manifests.core.errors import InputError
from pipeline.aligners.base import NOTHING, Aligner, Found, Picture
from pipeline.aligners.networks.voting import Owners, vote, with_others
from pipeline.arrays.landmarks import ARCFACE5
from pipeline.arrays.numerics import BATCH, in_fixed_batches

STEP = 32  # pixels: sides of a canvas are multiples of it, the coarsest stride of detectors
# Of photographs: up to their own, and OTHERS, each is looked at; beyond, until a face is found, but
# none at more than twice its own size.
SIDES, OTHERS = (160, 320, 640, 1280), 640
THRESHOLD = 0.5  # of photographs' scores
LEAST = 0.2  # score of a candidate that is looked at
# Where the points lie in a face's box, in its sides, about: for a box in which nothing is found.
IN_BOX = np.array([[0.31, 0.37], [0.70, 0.37], [0.51, 0.57], [0.34, 0.77], [0.67, 0.77]])


class CanvasAligner(Aligner):
    """What is left to a backend: `candidates`, and `settle` where it has a second look."""

    scheme = ARCFACE5
    sides: tuple[int, ...] = SIDES

    @property
    def looks(self) -> str:
        weights, side = self.weights_sha256[:12], self.sides[0]
        return f"{self.name} {weights}, score > {THRESHOLD:g}, at {side} pixels"

    @property
    def falls_back(self) -> str:
        again = ", ".join(map(str, self.sides[1:]))
        return (f"then at {again} as needed; " if again else "") + "then the box 0.3..0.7"

    @abstractmethod
    def candidates(
        self, canvases: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch candidate 15"]:
        """Score, box (left, top, right, bottom) and five points of everything that may be a face
        on canvases of RGB in [0, 255]."""

    def settle(
        self, canvases: Float[Tensor, "batch 3 side side"], owners: Owners, found: Found
    ) -> tuple[Owners, Found]:
        """The faces of all canvases, each with its canvas's number, after a second look, where
        there is one."""
        return owners, found

    def detect(
        self, pictures: Float[Tensor, "batch 3 height width"], *, size: int, threshold: float
    ) -> list[Found]:
        if not 0.0 <= threshold < 1.0:
            raise InputError(
                f"aligner {self.name}: threshold {threshold:g}, its scores are 0 to 1; set "
                "render.detect_threshold (0.5 is usual; dlib's are on another scale)"
            )
        canvases = on_canvases(pictures.cpu(), size)
        ratio = max(pictures.shape[-2:]) / size
        return [found.scaled(ratio) for found in self._look(canvases, threshold)]

    def photographs(self, pictures: Sequence[Picture]) -> list[Found]:
        found = [NOTHING] * len(pictures)
        for side in self.sides:
            longest = [max(picture.shape[:2]) for picture in pictures]
            left = [
                number
                for number, pixels in enumerate(longest)
                if side == self.sides[0]
                or side <= (min(pixels, OTHERS) if len(found[number]) else 2 * pixels)
            ]
            if not left:
                continue
            canvases = torch.stack([canvas_of(pictures[number], side) for number in left]).float()
            for number, each in zip(left, self._look(canvases, THRESHOLD), strict=True):
                found[number] = with_others(found[number], each.scaled(longest[number] / side))
        return found

    def place(self, picture: Picture, box: Sequence[float]) -> Float[np.ndarray, "5 2"]:
        corner, end = np.array(box[:2]), np.array(box[2:])
        return corner + IN_BOX * (end - corner)

    def _look(self, canvases: Float[Tensor, "batch 3 side side"], threshold: float) -> list[Found]:
        size = batch_of(canvases.shape[-1])
        rows = in_fixed_batches(self.candidates, canvases, size).cpu().numpy()
        owners, found = self.settle(canvases, *vote(rows, LEAST))
        owners, found = owners[found.scores > threshold], found.kept(found.scores > threshold)
        ends = np.searchsorted(owners, np.arange(len(canvases) + 1)).tolist()
        return [found.kept(slice(first, end)) for first, end in pairwise(ends)]


def batch_of(side: int) -> int:
    """Canvases that a network sees at once, one number for each side: small ones fill a batch of
    rendering; few come to a second look at a larger size, and would be filled up to it."""
    return BATCH if side <= 64 else max(1, 16 * 160**2 // max(side, 160) ** 2)


def on_canvases(
    pictures: Float[Tensor, "batch 3 height width"], size: int
) -> Float[Tensor, "batch 3 side side"]:
    """Pictures resampled (bicubic) to a longest side of `size`, on black squares that hold it."""
    height, width = pictures.shape[-2:]
    if max(height, width) != size:
        ratio = size / max(height, width)
        shape = (max(1, round(height * ratio)), max(1, round(width * ratio)))
        pictures = functional.interpolate(
            pictures, shape, mode="bicubic", align_corners=False, antialias=ratio < 1
        ).clamp(0, 255)
        height, width = shape
    side = -(-size // STEP) * STEP
    return functional.pad(pictures, (0, side - width, 0, side - height))


def canvas_of(picture: Picture, side: int) -> UInt8[Tensor, "3 side side"]:
    """A photograph with a longest side of `side`, averaged where it shrinks, on a black square."""
    ratio = side / max(picture.shape[:2])
    height, width = (max(1, round(pixels * ratio)) for pixels in picture.shape[:2])
    small = functional.interpolate(  # of bytes: several times as quick as of floats, or by Pillow
        torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None], (height, width),
        mode="bilinear", align_corners=False, antialias=True,
    )  # fmt: skip
    return functional.pad(small[0], (0, side - width, 0, side - height))
