"""Twins of generators: one picture or map of features at a time, (channel, height, width)."""

from __future__ import annotations

import numpy as np


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The full convolution: every tap of the kernel lays down a shifted copy of the image."""
    height, width = image.shape
    out = np.zeros((height + kernel.shape[0] - 1, width + kernel.shape[1] - 1))
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            out[row : row + height, column : column + width] += kernel[row, column] * image
    return out


def spread(image: np.ndarray, up: int) -> np.ndarray:
    """up - 1 zeros behind every pixel."""
    out = np.zeros((image.shape[0] * up, image.shape[1] * up))
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            out[row * up, column * up] = image[row, column]
    return out


def upfirdn(
    image: np.ndarray, kernel: np.ndarray, up: int, down: int, before: int, after: int
) -> np.ndarray:
    """Zeros between the pixels, zeros around them (below 0: pixels off), a filter of two
    dimensions where it lies wholly inside, and every down-th pixel."""
    out = np.pad(spread(image, up), ((max(before, 0), max(after, 0)),) * 2)
    low, high = max(-before, 0), max(-after, 0)
    out = out[low : out.shape[0] - high, low : out.shape[1] - high]
    margin = [size - 1 for size in kernel.shape]
    full = convolve(out, kernel)
    inside = full[margin[0] : out.shape[0], margin[1] : out.shape[1]]
    return inside[::down, ::down]


def modulated(weight: np.ndarray, style: np.ndarray, *, demodulate: bool = True) -> np.ndarray:
    """The weights of one row (StyleGAN2, equations 1 and 3)."""
    own = weight * style[None, :, None, None]
    if demodulate:
        for output in range(len(own)):
            own[output] /= np.sqrt((own[output] ** 2).sum() + 1e-8)
    return own


def convolve_layer(maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Full convolutions of (out, in, k, k) weights, summed over what goes in."""
    return np.array(
        [
            sum(convolve(image, kernel) for image, kernel in zip(maps, own, strict=True))
            for own in weight
        ]
    )


def leaky_relu(x: np.ndarray, clamp: float) -> np.ndarray:
    return np.clip(np.where(x > 0, x, 0.2 * x) * np.sqrt(2), -clamp, clamp)


def fourier_feature(
    frequency: np.ndarray, phase: float, moves: np.ndarray, size: int, rate: float
) -> np.ndarray:
    """One wave of StyleGAN3's input, pixel by pixel: places are in pictures from the middle."""
    out = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            x, y = ((at + 0.5 - size / 2) / rate for at in (column, row))
            place = moves @ (x, y, 1.0)
            out[row, column] = np.sin(2 * np.pi * (frequency @ place[:2] + phase))
    return out
