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
from pipeline.aligners.base import NOTHING, Found, Picture
from pipeline.aligners.networks import onet, yunet
from pipeline.aligners.yunet import Yunet
from pipeline.arrays.frames import warp
from pipeline.arrays.numerics import in_fixed_batches, weights_path

FACES = 16  # that O-Net sees at once
# O-Net looks at a square of this share of the longer side of YuNet's box: 0.9 gives the least
# jitter under known warps (0.82 pixels of the crop; 0.90 at 1.0, 1.09 at 1.1).
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

    def least(self, threshold: float) -> float:
        return threshold**2

    def settle(
        self, canvases: Float[Tensor, "batch 3 side side"], found: list[Found], threshold: float
    ) -> list[Found]:
        """Points, and scores: the geometric mean of what both networks say."""
        owners = np.repeat(np.arange(len(found)), [len(each) for each in found])
        boxes = np.concatenate([NOTHING.boxes, *(each.boxes for each in found)])
        points, faces = self._points(canvases, owners, boxes)
        scores = np.sqrt(np.concatenate([NOTHING.scores, *(each.scores for each in found)]) * faces)
        settled = []
        for number in range(len(found)):
            rows = np.flatnonzero((owners == number) & (scores > threshold))
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            settled.append(Found(boxes[rows], points[rows], scores[rows]))
        return settled

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
        size = onet.SIZE * ratio
        matrices = np.zeros((len(rows), 2, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = sides[rows] / size
        matrices[:, :, 2] = corners[rows]
        cut = warp(canvases[owners[rows]], torch.from_numpy(matrices).float(), size)
        crops[rows] = functional.avg_pool2d(cut, ratio)
    return crops


def load(weights: Path) -> YunetOnet:
    paths = [weights_path(weights, name) for name in (yunet.WEIGHTS, onet.WEIGHTS)]
    digest = sha256_text("".join(sha256_file(path) for path in paths))
    return YunetOnet(yunet.load_network(paths[0]), onet.load_network(paths[1]), digest)
