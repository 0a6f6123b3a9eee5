"""Student noise with each disturbance a pass of its own, in the order of params.yaml."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifests.settings.training import Noise
from pipeline.arrays.frames import Frame, between, warp
from train.augmentation.draws import Draws


def student_views(
    images: Tensor, flips: Tensor, source: Frame, target: Frame, noise: Noise, draws: Draws
) -> Tensor:
    """As the product's with neither low resolution, blur, sharpness, grain nor randaugment."""
    matrices = jittered(flips, source, target, noise, draws)
    pixels = images.permute(0, 3, 1, 2).float() / 255.0
    views = recoloured(warp(pixels, matrices, target.size), noise, draws)
    return views.clamp(0.0, 1.0) * 255.0


def jittered(flips: Tensor, source: Frame, target: Frame, noise: Noise, draws: Draws) -> Tensor:
    """Homogeneous 3 x 3 matrices, multiplied one after the other."""
    turns, zooms, *shifts = draws.normal(4)
    boxes = draws.uniform(4) if noise.crop > 0 else torch.ones(4, len(flips))
    middle, found = target.size / 2, []
    for row, flip in enumerate(flips.tolist()):
        angle, zoom = float(turns[row]) * noise.rotation, math.exp(zooms[row] * noise.zoom)
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        chosen, amount, *place = boxes[:, row].tolist()
        side = 1.0 - 0.4 * amount * (chosen < noise.crop)
        x, y = (share * (1.0 - side) * target.size for share in place)
        dx, dy = (float(own[row]) * noise.shift * target.size for own in shifts)
        steps = [
            [[side, 0.0, x], [0.0, side, y]],
            [[1.0, 0.0, -middle], [0.0, 1.0, -middle]],
            [[-1.0 if flip else 1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            [[cos, -sin, middle + dx], [sin, cos, middle + dy]],
            between(source, target).tolist(),
        ]
        whole = torch.eye(3, dtype=torch.float64)
        for step in steps:
            whole = torch.tensor([*step, [0.0, 0.0, 1.0]], dtype=torch.float64) @ whole
        found.append(whole[:2])
    return torch.stack(found).float()


def recoloured(images: Tensor, noise: Noise, draws: Draws) -> Tensor:
    """Of values 0..1."""
    drawn = draws.normal(6)[:, :, None, None, None]
    images = images ** torch.exp(drawn[0] * noise.gamma)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * torch.exp(drawn[1] * noise.contrast) + mean
    images = images + drawn[2] * noise.brightness
    images = images * torch.exp(drawn[3:6, :, 0].transpose(0, 1) * noise.tint)
    chosen, amount = draws.uniform(2)[:, :, None, None, None]
    images = images.lerp(images.mean(dim=1, keepdim=True), amount.square() * (chosen < noise.grey))
    return hues_turned(images, draws.normal(1)[0] * noise.hue) if noise.hue > 0 else images


def hues_turned(images: Tensor, angles: Tensor) -> Tensor:
    """About the grey axis k: v cos + (k x v) sin + k (k . v) (1 - cos)."""
    axis = torch.full((3, 1, 1), 1.0 / math.sqrt(3.0))
    cos, sin = (own[:, None, None, None] for own in (angles.cos(), angles.sin()))
    crossed = torch.linalg.cross(axis.expand_as(images), images, dim=1)
    along = (axis * images).sum(dim=1, keepdim=True)
    return images * cos + crossed * sin + axis * along * (1.0 - cos)
