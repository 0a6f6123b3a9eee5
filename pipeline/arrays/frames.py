"""Frames: where the face sits in the picture, and the warps between them.

A frame is a square region of one common plane, in which an aligned face lies (x right, y down),
sampled at some number of pixels. Because every frame is an axis-aligned square of that plane,
going from one to another is a fixed scale and shift. The plane is that of the first stores: its
unit is a pixel of dlib112.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Frame:
    """A square of the plane, sampled at `size` x `size` pixels."""

    name: str
    size: int  # pixels
    left: float  # of the region, units of the plane
    top: float
    extent: float  # side of the region

    def at(self, size: int) -> Frame:
        """The same region at another number of pixels."""
        return Frame(self.name, size, self.left, self.top, self.extent)

    @property
    def place(self) -> str:
        """Its name and region, in words."""
        right, bottom = self.left + self.extent, self.top + self.extent
        return f"{self.name} (x {self.left:g} to {right:g}, y {self.top:g} to {bottom:g})"

    def contains(self, other: Frame) -> bool:
        """Whether the other region lies within this one."""
        ends = [
            (own + self.extent, its + other.extent)
            for own, its in ((self.left, other.left), (self.top, other.top))
        ]
        inside = all(end >= its_end for end, its_end in ends)
        return inside and self.left <= other.left and self.top <= other.top

    @property
    def scale(self) -> float:
        """Pixels per unit of the plane."""
        return self.size / self.extent


# dlib's chip (padding 0.25), its mean-shape eye centres laid on those of arcface112.
DLIB150 = Frame("dlib150", 150, 6.286, 19.997, 100.581)
# What was called arcface112 before the field's points were known here: students of then see it.
DLIB112 = Frame("dlib112", 112, 0.0, 0.0, 112.0)
# The field's crop, where its points and dlib's, found in the same generated faces, have it: the
# median over 1,707 of 2,048 faces (`python -m tests.bench aligners`); by photographs of LFW it is
# 0.7 % smaller and 0.9 units higher.
ARCFACE112 = Frame("arcface112", 112, -1.255, -3.11, 114.51)
# What a face store keeps: holds all of the above, and a margin for small rotations and shifts.
WIDE = Frame("wide", 128, -8.0, -4.0, 128.0)
FRAMES = {frame.name: frame for frame in (ARCFACE112, DLIB112, DLIB150, WIDE)}


def between(source: Frame, target: Frame) -> Float[np.ndarray, "2 3"]:
    """The affine matrix that takes a pixel place in `target` to its place in `source`."""
    ratio = source.scale / target.scale
    shift_x = (target.left - source.left) * source.scale
    shift_y = (target.top - source.top) * source.scale
    return np.array([[ratio, 0.0, shift_x], [0.0, ratio, shift_y]])


def warp(
    images: Float[Tensor, "batch channel height width"],
    matrices: Float[Tensor, "batch 2 3"] | Float[Tensor, "1 2 3"],
    size: int,
    *,
    mode: str = "bilinear",
) -> Float[Tensor, "batch channel size size"]:
    """Samples each image at `matrix @ (x, y, 1)` for every target pixel; edges are repeated.

    Places are continuous: a pixel's centre lies at its index + 0.5.
    """
    height, width = images.shape[-2:]
    centres = torch.arange(size, dtype=torch.float32, device=images.device) + 0.5
    ys, xs = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack([xs, ys, torch.ones_like(xs)], dim=-1).reshape(-1, 3)
    sampled = places @ matrices.to(images).transpose(1, 2)  # batch, size * size, 2
    grid = sampled * sampled.new_tensor([2.0 / width, 2.0 / height]) - 1.0
    grid = grid.reshape(-1, size, size, 2).expand(len(images), -1, -1, -1)
    return functional.grid_sample(images, grid, mode, "border", align_corners=False)


def to_frame(
    images: Float[Tensor, "batch channel height width"], source: Frame, target: Frame
) -> Float[Tensor, "batch channel size size"]:
    """Pictures in frame `source` resampled to frame `target` (bilinear)."""
    if source == target:
        return images
    matrix = torch.from_numpy(between(source, target)).float()[None]
    return warp(images, matrix, target.size)


def similarity(
    points: Float[np.ndarray, "count 2"], targets: Float[np.ndarray, "count 2"]
) -> Float[np.ndarray, "2 3"]:
    """The similarity (rotation, uniform scale, shift) that takes `targets` closest to `points`
    in the least-squares sense; with it `warp` brings `points` to `targets`."""
    source, goal = targets.astype(np.float64), points.astype(np.float64)
    centre_s, centre_g = source.mean(0), goal.mean(0)
    s, g = source - centre_s, goal - centre_g
    norm = float((s**2).sum())
    cos, sin = (
        float((s * g).sum()) / norm,
        float((s[:, 0] * g[:, 1] - s[:, 1] * g[:, 0]).sum()) / norm,
    )
    rotation = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([rotation, (centre_g - rotation @ centre_s)[:, None]], axis=1)
