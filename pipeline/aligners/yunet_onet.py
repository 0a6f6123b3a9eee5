"""YuNet finds the faces, MTCNN's O-Net their points: the default (docs/ALIGNERS.md).

O-Net's are the points by which the field's data sets are cut (MS1M of ArcFace was aligned with
MTCNN), and it takes away most of what YuNet calls a face and is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from manifests.core.digests import sha256_file, sha256_text
from pipeline.aligners.base import Found, Picture
from pipeline.aligners.networks import onet, yunet
from pipeline.aligners.networks.voting import Owners
from pipeline.aligners.yunet import Yunet
from pipeline.arrays.numerics import in_fixed_batches, weights_path

FACES = 8  # that O-Net sees at once
# O-Net looks at a square of this share of the longer side of YuNet's box: of 0.9, 1.0, 1.1 and 1.2
# it gave the least jitter under known warps (docs/log/faces.md).
SHARE = 0.9


class YunetOnet(Yunet):
    name = "yunet-onet"
    licence = "BSD-3-Clause (libfacedetection), MIT (facenet-pytorch's MTCNN)"

    def __init__(self, detector: yunet.YuNet, landmarks: onet.ONet, weights_sha256: str) -> None:
        super().__init__(detector, weights_sha256)
        self.landmarks = landmarks

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.landmarks.to(device)

    def settle(
        self, canvases: Float[Tensor, "batch 3 side side"], owners: Owners, found: Found
    ) -> tuple[Owners, Found]:
        """Points, and scores: the geometric mean of what both networks say."""
        if not len(found):
            return owners, found
        points, faces = self._points(canvases, owners, found.boxes)
        scores = np.sqrt(found.scores * faces)
        rows = np.lexsort((-scores, owners))
        return owners[rows], Found(found.boxes[rows], points[rows], scores[rows])

    def place(self, picture: Picture, box: Sequence[float]) -> Float[np.ndarray, "5 2"]:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        return self._points(pixels, np.zeros(1, int), np.array([box]))[0][0]

    def _points(
        self,
        canvases: Float[Tensor, "batch 3 height width"],
        owners: Int[np.ndarray, " face"],
        boxes: Float[np.ndarray, "face 4"],
    ) -> tuple[Float[np.ndarray, "face 5 2"], Float[np.ndarray, " face"]]:
        """The points in boxes on their canvases, and how much each looks like a face."""
        sides = SHARE * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        corners = (boxes[:, :2] + boxes[:, 2:] - sides[:, None]) / 2
        crops = _cut(canvases, owners, corners, sides)
        device = next(self.landmarks.parameters()).device
        rows = in_fixed_batches(lambda faces: self.landmarks(faces.to(device)), crops, FACES)
        values = rows.cpu().numpy().astype(np.float64)
        points = corners[:, None] + values[:, 1:].reshape(-1, 5, 2) * sides[:, None, None]
        return points, values[:, 0]


def _cut(
    canvases: Tensor, owners: np.ndarray, corners: np.ndarray, sides: np.ndarray
) -> Float[Tensor, "face 3 48 48"]:
    """Squares of canvases at O-Net's size, averaged from finer ones where they have to shrink."""
    crops = canvases.new_empty((len(owners), 3, onet.SIZE, onet.SIZE))
    finer = np.maximum(1, np.round(sides / onet.SIZE)).astype(int)
    for ratio in np.unique(finer).tolist():
        rows = np.flatnonzero(finer == ratio)
        grid = _grid(corners[rows], sides[rows], onet.SIZE * ratio, canvases)
        cut = functional.grid_sample(
            canvases[owners[rows]], grid, "bilinear", "border", align_corners=False
        )
        crops[rows] = cut if ratio == 1 else functional.avg_pool2d(cut, ratio)
    return crops


def _grid(
    corners: np.ndarray, sides: np.ndarray, size: int, canvases: Tensor
) -> Float[Tensor, "face size size 2"]:
    """Where the pixels of squares lie, from -1 to 1 across a canvas: `warp` without rotations, of
    which it would take a third of the time."""
    centres = (np.arange(size) + 0.5) / size
    ends = np.array(canvases.shape[:1:-1])  # width, height
    places = (corners[:, :, None] + sides[:, None, None] * centres) * (2 / ends)[:, None] - 1
    across, down = torch.from_numpy(places).to(canvases).unbind(dim=1)
    shape = (-1, size, size)
    return torch.stack([across[:, None].expand(shape), down[:, :, None].expand(shape)], dim=-1)


def load(weights: Path) -> YunetOnet:
    paths = [weights_path(weights, name) for name in (yunet.WEIGHTS, onet.WEIGHTS)]
    digest = sha256_text("".join(sha256_file(path) for path in paths))
    return YunetOnet(yunet.load_network(paths[0]), onet.load_network(paths[1]), digest)
