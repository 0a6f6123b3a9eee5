"""Student noise: the picture is disturbed, the target stays that of the clean view.

It is never a stored view. Whatever is off (0) draws nothing and costs nothing.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from manifests.settings.training import Noise
from pipeline.arrays.frames import Frame, between, warp
from train.augmentation.draws import Draws
from train.augmentation.randaugment import apply_operations, draw_operations

SMALLEST_CROP, SMALLEST_SIDE = 0.6, 0.2  # of the side

Pictures = Float[Tensor, "batch 3 size size"]  # values 0..1, before they are clamped: about


def student_views(
    images: UInt8[Tensor, "batch stored stored 3"],
    flips: Bool[Tensor, " batch"],
    source: Frame,
    target: Frame,
    noise: Noise,
    draws: Draws,
) -> Float[Tensor, "batch 3 size size"]:
    """Stored crops as the student sees them in training: warped once, mirrored where told,
    disturbed in place, colour and sharpness; values 0..255."""
    matrices = jittered(flips, source, target, noise, draws).to(images.device)
    pixels = images.permute(0, 3, 1, 2).float() / 255.0
    views = recoloured(warp(pixels, matrices, target.size), noise, draws)
    if noise.low_resolution > 0:
        views = coarsened(views, noise.low_resolution, draws)
    if noise.blur > 0:
        views = blurred(views, draws.uniform(1)[0].to(views) * noise.blur)
    views = roughened(views, noise, draws).clamp(0.0, 1.0) * 255.0
    if noise.randaugment > 0:
        chosen, bins = draw_operations(noise.randaugment, noise.strongest, draws)
        views = apply_operations(views.round(), chosen, bins)
    return views


def jittered(
    flips: Bool[Tensor, " batch"], source: Frame, target: Frame, noise: Noise, draws: Draws
) -> Float[Tensor, "batch 2 3"]:
    """The warp from `source` to `target` with a random rotation, zoom and shift about the
    target's middle, after mirroring it where `flips` says so, and of a box of that only."""
    drawn = draws.normal(4)
    angle, zoom = drawn[0] * noise.rotation, torch.exp(drawn[1] * noise.zoom)
    middle = target.size / 2
    linear = torch.stack([zoom * angle.cos(), -zoom * angle.sin()], dim=1)
    linear = torch.stack([linear, torch.stack([zoom * angle.sin(), zoom * angle.cos()], 1)], 1)
    linear[:, :, 0] *= torch.where(flips.cpu(), -1.0, 1.0)[:, None]
    shift = drawn[2:].T * noise.shift * target.size + middle - linear.sum(dim=2) * middle
    if noise.crop > 0:
        side, corner = _boxes(noise.crop, target.size, draws)
        shift = shift + (linear @ corner[:, :, None])[:, :, 0]
        linear = linear * side[:, None, None]
    fixed = torch.from_numpy(between(source, target)).float()
    moved = torch.cat([linear, shift[:, :, None]], dim=2)
    combined: Tensor = fixed[:, :2] @ moved
    combined[:, :, 2] += fixed[:, 2]
    return combined


def _boxes(
    chance: float, size: int, draws: Draws
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 2"]]:
    """Side (as a share) and corner (pixels) of the box of each picture that is shown."""
    chosen, amount, *place = draws.uniform(4)
    side = 1.0 - (1.0 - SMALLEST_CROP) * amount * (chosen < chance)
    return side, torch.stack(place, dim=1) * (1.0 - side[:, None]) * size


def recoloured(images: Pictures, noise: Noise, draws: Draws) -> Pictures:
    """Gamma, contrast and brightness, tint, partial loss of colour, hue."""
    drawn = draws.normal(6)[:, :, None, None, None].to(images.device)
    images = images ** torch.exp(drawn[0] * noise.gamma)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * torch.exp(drawn[1] * noise.contrast) + mean
    images = images + drawn[2] * noise.brightness
    images = images * torch.exp(drawn[3:6, :, 0].transpose(0, 1) * noise.tint)
    chosen, amount = draws.uniform(2)[:, :, None, None, None].to(images.device)
    amount = amount.square() * (chosen < noise.grey)
    images = images.lerp(images.mean(dim=1, keepdim=True), amount)
    if noise.hue > 0:
        images = turned(images, draws.normal(1)[0].to(images) * noise.hue)
    return images


def turned(images: Pictures, angles: Float[Tensor, " batch"]) -> Pictures:
    """Colours turned about the grey axis, by Rodrigues' formula."""
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None] / math.sqrt(3.0)
    eye, ones = torch.eye(3).to(images), torch.ones(3, 3).to(images)
    cross = images.new_tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    rotation = cos * eye + (1.0 - cos) / 3.0 * ones + sin * cross
    return (rotation @ images.flatten(2)).reshape(images.shape)


def coarsened(images: Pictures, chance: float, draws: Draws) -> Pictures:
    """Some pictures shrunk to a random side and enlarged again, as photographs from afar are."""
    size = images.shape[-1]
    chosen, amount = draws.uniform(2)
    sides = (size * (1.0 - (1.0 - SMALLEST_SIDE) * amount)).round().int()
    images = images.clone()
    for side in torch.unique(sides[chosen < chance]).tolist():
        rows = torch.nonzero((sides == side) & (chosen < chance))[:, 0].to(images.device)
        small = functional.interpolate(images[rows], (side, side), mode="bilinear", antialias=True)
        images[rows] = functional.interpolate(small, (size, size), mode="bilinear")
    return images


def blurred(images: Pictures, sigmas: Float[Tensor, " batch"]) -> Pictures:
    """Each picture under a Gaussian of its own width in pixels, cut off at the edges."""
    places = torch.arange(images.shape[-1]).to(images)
    away = (places[:, None] - places[None, :]).square()
    weights = torch.exp(-away / (2.0 * sigmas.clamp_min(1e-2).square()[:, None, None]))
    weights = (weights / weights.sum(dim=2, keepdim=True))[:, None]
    return weights @ images @ weights.transpose(2, 3)


def roughened(images: Pictures, noise: Noise, draws: Draws) -> Pictures:
    """Blur or sharpening (an unsharp mask of random gain), then white noise."""
    drawn = draws.uniform(2)[:, :, None, None, None].to(images.device)
    if noise.sharpness > 0:
        padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        gain = (drawn[0] * 1.4 - 0.4) * noise.sharpness
        images = images + (images - functional.avg_pool2d(padded, 3, 1)) * gain
    if noise.grain > 0:
        grain = draws.white(*images.shape[1:]).to(images.device)
        images = images + grain * drawn[1] * noise.grain
    return images
