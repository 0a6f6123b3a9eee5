"""Student noise: the picture is disturbed, the target stays that of the clean view.

It is never a stored view. All draws come from the generator handed in, which the trainer seeds
by step, so that resuming gives the same pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from manifests.params import Noise
from pipeline.frames import Frame, between, warp


def student_views(
    images: UInt8[Tensor, "batch stored stored 3"],
    flips: Bool[Tensor, " batch"],
    source: Frame,
    target: Frame,
    noise: Noise,
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 size size"]:
    """Stored crops as the student sees them in training: warped once, mirrored where told,
    disturbed in place, colour and sharpness; values 0..255."""
    matrices = jittered(flips, source, target, noise, generator).to(images.device)
    pixels = images.permute(0, 3, 1, 2).float() / 255.0
    views = warp(pixels, matrices, target.size)
    views = recoloured(views, noise, generator)
    return roughened(views, noise, generator).clamp(0.0, 1.0) * 255.0


def jittered(
    flips: Bool[Tensor, " batch"],
    source: Frame,
    target: Frame,
    noise: Noise,
    generator: torch.Generator,
) -> Float[Tensor, "batch 2 3"]:
    """The warp from `source` to `target` with a random rotation, zoom and shift about the
    target's middle, after mirroring it where `flips` says so."""
    count = len(flips)
    draws = torch.randn(4, count, generator=generator)
    angle, zoom = draws[0] * noise.rotation, torch.exp(draws[1] * noise.zoom)
    middle = target.size / 2
    linear = torch.stack([zoom * angle.cos(), -zoom * angle.sin()], dim=1)
    linear = torch.stack([linear, torch.stack([zoom * angle.sin(), zoom * angle.cos()], 1)], 1)
    linear[:, :, 0] *= torch.where(flips.cpu(), -1.0, 1.0)[:, None]
    shift = draws[2:].T * noise.shift * target.size + middle - linear.sum(dim=2) * middle
    fixed = torch.from_numpy(between(source, target)).float()
    moved = torch.cat([linear, shift[:, :, None]], dim=2)
    combined: Tensor = fixed[:, :2] @ moved
    combined[:, :, 2] += fixed[:, 2]
    return combined


def recoloured(
    images: Float[Tensor, "batch 3 size size"], noise: Noise, generator: torch.Generator
) -> Float[Tensor, "batch 3 size size"]:
    """Gamma, contrast and brightness, tint, partial loss of colour; values about 0..1."""
    count = len(images)
    draws = torch.randn(6, count, 1, 1, 1, generator=generator).to(images.device)
    images = images ** torch.exp(draws[0] * noise.gamma)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * torch.exp(draws[1] * noise.contrast) + mean
    images = images + draws[2] * noise.brightness
    images = images * torch.exp(draws[3:6, :, 0].transpose(0, 1) * noise.tint)
    chosen, amount = torch.rand(2, count, 1, 1, 1, generator=generator).to(images.device)
    amount = amount.square() * (chosen < noise.grey)
    return images.lerp(images.mean(dim=1, keepdim=True), amount)


def roughened(
    images: Float[Tensor, "batch 3 size size"], noise: Noise, generator: torch.Generator
) -> Float[Tensor, "batch 3 size size"]:
    """Blur or sharpening (an unsharp mask of random gain), then white noise."""
    count = len(images)
    draws = torch.rand(2, count, 1, 1, 1, generator=generator).to(images.device)
    if noise.sharpness > 0:
        padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        gain = (draws[0] * 1.4 - 0.4) * noise.sharpness
        images = images + (images - functional.avg_pool2d(padded, 3, 1)) * gain
    if noise.grain > 0:
        grain = torch.randn(images.shape, generator=generator).to(images.device)
        images = images + grain * draws[1] * noise.grain
    return images
