"""Student noise: the picture is disturbed, the target stays that of the clean view.

It is never a stored view. Whatever is off (0) draws nothing and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, UInt8
from torch import Tensor
from torch.nn import functional

from manifests.settings.training import Noise
from pipeline.arrays.frames import Frame, between
from train.augmentation.draws import Draws
from train.augmentation.randaugment import apply_operations, draw_operations

SMALLEST_CROP, SMALLEST_SIDE = 0.6, 0.2  # of the side
WHITE = 255.0
# Faces that a CPU warps and colours at a time: their pixels stay in a core's own cache, which
# halves the time of a batch.
GROUP = 16

Pictures = Float[Tensor, "batch 3 size size"]  # values 0..255, before they are clamped: about


def student_views(
    images: UInt8[Tensor, "batch stored stored 3"],
    flips: Bool[Tensor, " batch"],
    source: Frame,
    target: Frame,
    noise: Noise,
    draws: Draws,
    layout: torch.memory_format = torch.contiguous_format,
) -> Float[Tensor, "batch 3 size size"]:
    """Stored crops as the student sees them in training: warped once, mirrored where told,
    disturbed in place, colour and sharpness; values 0..255."""
    device, size = images.device, target.size
    jitter, colours = jittered(flips, source, target, noise, draws), Colours.drawn(noise, draws)
    jitter, colours = jitter.to(device), colours.to(device)
    views = torch.empty(len(images), 3, size, size, device=device, memory_format=layout)
    group = GROUP if device.type == "cpu" else max(1, len(images))
    for first in range(0, len(images), group):
        own = slice(first, first + group)
        views[own] = recoloured(warped(images[own], jitter[own], size), colours.of(own))
    if noise.low_resolution > 0:
        views = coarsened(views, noise.low_resolution, draws)
    if noise.blur > 0:
        views = blurred(views, draws.uniform(1)[0].to(views) * noise.blur)
    views = roughened(views, noise, draws).clamp_(0.0, WHITE)
    if noise.randaugment > 0:
        chosen, bins = draw_operations(noise.randaugment, noise.strongest, draws)
        views = apply_operations(views.round(), chosen, bins)
    return views


def jittered(
    flips: Bool[Tensor, " batch"], source: Frame, target: Frame, noise: Noise, draws: Draws
) -> Complex[Tensor, "batch 3"]:
    """The warp from `source` to `target` with a random rotation, zoom and shift about the
    target's middle, after mirroring it where `flips` says so, and of a box of that only.

    The three columns of its matrix, x as real and y as imaginary part: where a step to the right
    leads, a step down, and from where."""
    drawn, middle = draws.normal(4), target.size / 2
    right = torch.polar(torch.exp(drawn[1] * noise.zoom), drawn[0] * noise.rotation)
    right, down = torch.where(flips.cpu(), -right, right), right * 1j
    shift = torch.complex(drawn[2], drawn[3]) * (noise.shift * target.size)
    shift = shift + middle * (1 + 1j) - (right + down) * middle
    if noise.crop > 0:
        side, corner = _boxes(noise.crop, target.size, draws)
        shift = shift + right * corner[:, 0] + down * corner[:, 1]
        right, down = right * side, down * side
    ratio, _, left, _, _, top = between(source, target).flatten().tolist()
    return torch.stack([right * ratio, down * ratio, shift * ratio + complex(left, top)], dim=1)


def warped(
    images: UInt8[Tensor, "batch stored stored 3"], columns: Complex[Tensor, "batch 3"], size: int
) -> Pictures:
    """As `pipeline.arrays.frames.warp` of a matrix with these columns. Its places cost one
    addition, and pixels stay where they lie: the colours of one are beside each other."""
    columns = columns * (2.0 / images.shape[1])  # its plane is -1..1
    right, down, start = columns[:, :, None].unbind(1)
    centres = torch.arange(size, dtype=torch.float32, device=images.device) + 0.5
    row = right * centres + (start - (1 + 1j))
    grid = torch.view_as_real(row[:, None, :] + (down * centres)[:, :, None])
    pixels = images.permute(0, 3, 1, 2).float()
    return functional.grid_sample(pixels, grid, "bilinear", "border", align_corners=False)


def _boxes(
    chance: float, size: int, draws: Draws
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 2"]]:
    """Side (as a share) and corner (pixels) of the box of each picture that is shown."""
    chosen, amount, *place = draws.uniform(4)
    side = 1.0 - (1.0 - SMALLEST_CROP) * amount * (chosen < chance)
    return side, torch.stack(place, dim=1) * (1.0 - side[:, None]) * size


@dataclass(frozen=True)
class Colours:
    """What becomes of each picture's colours: a power, and then one affine map."""

    gamma: Float[Tensor, " batch"] | None  # None: 1
    contrast: Float[Tensor, " batch"]  # about the picture's mean
    brightness: Float[Tensor, " batch"]  # of 0..255
    mixed: Float[Tensor, "batch 3 3"]  # tint, then partial loss of colour, then hue

    @classmethod
    def drawn(cls, noise: Noise, draws: Draws) -> Colours:
        drawn, (chosen, amount) = draws.normal(6), draws.uniform(2)
        grey = (amount.square() * (chosen < noise.grey))[:, None, None]
        mixed = torch.eye(3) * (1.0 - grey) + grey / 3.0
        mixed = mixed * torch.exp(drawn[3:6].T * noise.tint)[:, None, :]
        if noise.hue > 0:
            mixed = turned(draws.normal(1)[0] * noise.hue) @ mixed
        gamma = torch.exp(drawn[0] * noise.gamma) if noise.gamma > 0 else None
        contrast = torch.exp(drawn[1] * noise.contrast)
        return cls(gamma, contrast, drawn[2] * (noise.brightness * WHITE), mixed)

    def to(self, device: torch.device) -> Colours:
        return self._each(lambda own: own.to(device))

    def of(self, rows: slice) -> Colours:
        return self._each(lambda own: own[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Colours:
        gamma = None if self.gamma is None else change(self.gamma)
        others = (change(own) for own in (self.contrast, self.brightness, self.mixed))
        return Colours(gamma, *others)


def recoloured(images: Pictures, colours: Colours) -> Pictures:
    """Gamma, contrast and brightness, tint, partial loss of colour, hue; writes over `images`."""
    white = 1.0
    if colours.gamma is not None:
        images, white = to_power(images, colours.gamma[:, None, None, None]), WHITE
    means = images.flatten(1).mean(dim=1) * white
    added = means * (1.0 - colours.contrast) + colours.brightness
    offsets = colours.mixed.sum(dim=2, keepdim=True) * added[:, None, None]
    matrices = colours.mixed * (colours.contrast * white)[:, None, None]
    return torch.baddbmm(offsets, matrices, images.flatten(2)).view_as(images)


def to_power(images: Pictures, exponents: Float[Tensor, "batch 1 1 1"]) -> Pictures:
    """Each picture's shares of white (0..1) to a power of its own; writes over `images`. In half
    the time of torch's own power: by logarithms, of which NumPy has the faster one."""
    if images.device.type == "cpu":
        with np.errstate(divide="ignore"):  # black stays black: 2 ** -inf
            np.log(images.numpy(), out=images.numpy())
    else:
        images.log_()
    return images.sub_(math.log(WHITE)).mul_(exponents * math.log2(math.e)).exp2_()


def turned(angles: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
    """Matrices that turn colours about the grey axis, by Rodrigues' formula."""
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None] / math.sqrt(3.0)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return cos * torch.eye(3) + (1.0 - cos) / 3.0 + sin * cross


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
        images = images + grain * drawn[1] * (noise.grain * WHITE)
    return images
