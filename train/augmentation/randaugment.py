"""RandAugment as USynthFace uses it (Boutros et al., FG 2023, arXiv 2211.07371).

Each picture goes through a number of operations in turn, drawn uniformly with replacement from
the 13 of OPERATIONS, each with a strength drawn uniformly from the first bins of 31 (torchvision
takes one fixed bin instead). Arithmetic is Pillow's: 8 bits a colour, nearest pixel, black beyond
the edges.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from train.augmentation.draws import Draws

BINS = 30  # of strengths 0..30
LUMA = (19595, 38470, 7471)  # of 65536: ITU-R 601, as Pillow rounds it
SMOOTH = torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13.0

Pictures = Float[Tensor, "batch 3 size size"]  # whole numbers 0..255
Bins = Int[Tensor, " batch"]  # -30..30: of strength, with the direction as its sign


def rand_augment(
    images: UInt8[Tensor, "batch 3 size size"],
    generator: torch.Generator,
    *,
    operations: int = 4,
    strongest: int = 16,
) -> UInt8[Tensor, "batch 3 size size"]:
    """Pictures after `operations` random ones, each of a bin in 1..`strongest` (of 30).

    All draws come from `generator`, as many for any content.
    """
    draws = Draws(generator, len(images))
    chosen, bins = draw_operations(operations, strongest, draws)
    return apply_operations(images.float(), chosen, bins).to(torch.uint8)


def draw_operations(
    operations: int, strongest: int, draws: Draws
) -> tuple[Int[Tensor, "operation batch"], Int[Tensor, "operation batch"]]:
    """Which of OPERATIONS, in turn, and the bin of each."""
    chosen = draws.integers(operations, 0, len(OPERATIONS))
    bins = draws.integers(operations, 1, strongest + 1)
    return chosen, bins * (draws.integers(operations, 0, 2) * 2 - 1)


def apply_operations(
    images: Pictures, chosen: Int[Tensor, "operation batch"], bins: Int[Tensor, "operation batch"]
) -> Pictures:
    for own, signed in zip(chosen, bins, strict=True):
        images = _apply_each(images, own, signed)
    return images


def _apply_each(images: Pictures, chosen: Int[Tensor, " batch"], bins: Bins) -> Pictures:
    """Each picture through the one operation chosen for it."""
    found = images.clone()
    for index, operation in enumerate(OPERATIONS.values()):
        rows = torch.nonzero(chosen == index)[:, 0]
        if len(rows):
            here = rows.to(images.device)
            found[here] = operation(images[here], bins[rows].to(images.device))
    return found


def identity(images: Pictures, bins: Bins) -> Pictures:
    return images


def shear_x(images: Pictures, bins: Bins) -> Pictures:
    """x + 0.3 s y, about the top left corner."""
    return _resampled(images, _matrices(bins, (1.0, 0.3, 0.0), (0.0, 1.0, 0.0)))


def translate_x(images: Pictures, bins: Bins) -> Pictures:
    """By up to 150 of 331 parts of the width, in whole pixels."""
    matrices = _matrices(bins, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    matrices[:, 0, 2] = torch.trunc(_shares(bins) * (150.0 / 331.0) * images.shape[-1])
    return _resampled(images, matrices)


def rotate(images: Pictures, bins: Bins) -> Pictures:
    """By up to 30 degrees about the middle, anticlockwise where the bin is positive."""
    angles = torch.deg2rad(_shares(bins) * -30.0)
    cos, sin, middle = angles.cos(), angles.sin(), images.shape[-1] / 2
    rows = [
        torch.stack([cos, sin, middle - middle * (cos + sin)], dim=1),
        torch.stack([-sin, cos, middle - middle * (cos - sin)], dim=1),
    ]
    return _resampled(images, torch.stack(rows, dim=1))


def brightness(images: Pictures, bins: Bins) -> Pictures:
    return _blended(torch.zeros_like(images), images, bins)


def color(images: Pictures, bins: Bins) -> Pictures:
    return _blended(grayscale(images, bins), images, bins)


def contrast(images: Pictures, bins: Bins) -> Pictures:
    """Away from or towards the mean grey of the picture."""
    mean = (grayscale(images, bins)[:, :1].mean(dim=(2, 3), keepdim=True) + 0.5).floor()
    return _blended(mean.expand_as(images), images, bins)


def sharpness(images: Pictures, bins: Bins) -> Pictures:
    """Away from or towards a smoothed picture; the outermost pixels stay."""
    smooth = images.clone()
    kernel = SMOOTH.to(images).expand(3, 1, 3, 3)
    inner = functional.conv2d(images, kernel, groups=3)
    smooth[:, :, 1:-1, 1:-1] = (inner + 0.5).floor().clamp(0.0, 255.0)
    return _blended(smooth, images, bins)


def posterize(images: Pictures, bins: Bins) -> Pictures:
    """Keeps 8 bits down to 4."""
    step = 2.0 ** (_shares(bins).abs() * 4.0).round().to(images)
    step = step[:, None, None, None]
    return (images / step).floor() * step


def solarize(images: Pictures, bins: Bins) -> Pictures:
    """Inverts what is at or above a threshold that falls from 255 to 0."""
    threshold = (255.0 - 255.0 / BINS * bins.abs())[:, None, None, None]
    return torch.where(images < threshold, images, 255.0 - images)


def autocontrast(images: Pictures, bins: Bins) -> Pictures:
    """Each colour stretched to 0..255."""
    low, high = (images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True))
    # In doubles, as Pillow does it: fewer whole numbers fall just below themselves.
    scale = 255.0 / (high - low).clamp_min(1.0).double()
    stretched = (images.double() * scale - low.double() * scale).trunc()
    return torch.where(high > low, stretched.clamp(0.0, 255.0).to(images), images)


def equalize(images: Pictures, bins: Bins) -> Pictures:
    """Each colour's histogram made even."""
    levels = images.flatten(2).long()
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    highest = levels.amax(dim=2, keepdim=True)
    step = (levels.shape[2] - counts.gather(2, highest)) // 255
    before = counts.cumsum(dim=2) - counts + step // 2
    table = (before // step.clamp_min(1)).clamp_max(255)
    found = torch.where(step > 0, table.gather(2, levels), levels)
    return found.to(images).reshape(images.shape)


def grayscale(images: Pictures, bins: Bins) -> Pictures:
    red, green, blue = LUMA  # sums stay below 2 ** 24: exact
    luma = images[:, :1] * red + images[:, 1:2] * green + images[:, 2:] * blue
    return ((luma + 32768.0) / 65536.0).floor().expand_as(images)


def _shares(bins: Bins) -> Float[Tensor, " batch"]:
    """s in -1..1: of the strongest bin."""
    return bins.double() / BINS


def _matrices(bins: Bins, *rows: tuple[float, float, float]) -> Float[Tensor, "batch 2 3"]:
    """Fixed rows whose entries off the diagonal are scaled by the bin's share."""
    fixed = torch.tensor(rows, dtype=torch.float64, device=bins.device)
    scale = torch.ones(len(bins), 2, 3, dtype=torch.float64, device=bins.device)
    scale[:, 0, 1] = _shares(bins)
    return fixed * scale


def _resampled(images: Pictures, matrices: Float[Tensor, "batch 2 3"]) -> Pictures:
    """The nearest pixel of `matrix @ (x, y, 1)`, pixel centres at halves; 0 beyond the edges."""
    size = images.shape[-1]
    centres = torch.arange(size, dtype=torch.float64, device=images.device) + 0.5
    ys, xs = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack([xs, ys, torch.ones_like(xs)]).reshape(3, -1)
    x, y = (matrices @ places).floor().long().unbind(dim=1)
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    index = torch.where(inside, y * size + x, 0)[:, None].expand(-1, 3, -1)
    found = images.flatten(2).gather(2, index) * inside[:, None]
    return found.reshape(images.shape)


def _blended(plain: Pictures, images: Pictures, bins: Bins) -> Pictures:
    """`images` at 1 + 0.9 s, `plain` at 0, cut to a byte as Pillow does."""
    factor = (1.0 + 0.9 * _shares(bins)).to(images)[:, None, None, None]
    return (plain + factor * (images - plain)).clamp(0.0, 255.0).trunc()


OPERATIONS: dict[str, Callable[[Pictures, Bins], Pictures]] = {
    "identity": identity,
    "shear-x": shear_x,
    "translate-x": translate_x,
    "rotate": rotate,
    "brightness": brightness,
    "color": color,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
    "grayscale": grayscale,
}
