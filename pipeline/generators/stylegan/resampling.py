"""Filters of the StyleGAN family, by plain convolutions: no extension has to be compiled."""

from __future__ import annotations

import numpy as np
import scipy.signal
import scipy.special
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Pictures = Float[Tensor, "batch channel height width"]
Resampled = Float[Tensor, "batch channel rows columns"]
Kernel = Float[Tensor, "..."]  # of one dimension where it is separable, else of two

LEAK = 0.2  # slope of the leaky ReLU below zero
GAIN = 2.0**0.5  # keeps the variance of what goes through it


def binomial() -> Float[Tensor, " taps"]:
    """The separable filter [1, 3, 3, 1] of StyleGAN2, its sum 1."""
    return torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8.0


def lowpass(
    taps: int, cutoff: float, width: float, rate: float, *, radial: bool = False
) -> Kernel | None:
    """A Kaiser-windowed low-pass filter (StyleGAN3, arXiv 2106.12423, appendix C.1), sum 1.

    `cutoff`, `width` of the transition band and sampling `rate` in cycles a picture; `radial`:
    the jinc filter of two dimensions that config R samples down with. None for one tap.
    """
    if taps == 1:
        return None
    if not radial:
        kernel = scipy.signal.firwin(taps, cutoff, width=width, fs=rate)
        return torch.as_tensor(kernel, dtype=torch.float32)
    place = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(place[:, None], place[None, :])
    attenuation = scipy.signal.kaiser_atten(taps, width / (rate / 2))
    window = np.kaiser(taps, scipy.signal.kaiser_beta(attenuation))
    kernel = scipy.special.j1(2 * np.pi * cutoff * radius) / (np.pi * radius)
    kernel *= np.outer(window, window)
    return torch.as_tensor(kernel / kernel.sum(), dtype=torch.float32)


def resample(
    x: Pictures,
    kernel: Kernel | None,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> Resampled:
    """Zeros between the pixels, padding (before, after; below 0 it crops), the filter, and every
    `down`-th pixel of what it covers wholly. A constant stays what it is."""
    if up > 1:
        spread = x.new_zeros(*x.shape[:2], x.shape[2] * up, x.shape[3] * up)
        spread[:, :, ::up, ::up] = x
        x = spread
    x = functional.pad(x, (*padding, *padding))
    if kernel is None:
        return x[:, :, ::down, ::down] * up**2
    channels = x.shape[1]
    taps = kernel.flip(tuple(range(kernel.ndim)))  # conv2d correlates
    if kernel.ndim == 2:
        weight = (taps * up**2).expand(channels, 1, -1, -1)
        return functional.conv2d(x, weight, stride=down, groups=channels)
    row = (taps * up).expand(channels, 1, 1, -1)
    x = functional.conv2d(x, row, stride=(1, down), groups=channels)
    return functional.conv2d(x, row.transpose(2, 3), stride=(down, 1), groups=channels)


def leaky_relu(x: Tensor, *, clamp: float | None = None) -> Tensor:
    """Leaky ReLU with its gain, held within -clamp and clamp."""
    y = functional.leaky_relu(x, LEAK) * GAIN
    return y if clamp is None else y.clamp(-clamp, clamp)


def filtered_leaky_relu(
    x: Pictures,
    *,
    up_kernel: Kernel | None,
    down_kernel: Kernel | None,
    up: int,
    down: int,
    padding: tuple[int, int],
    clamp: float | None,
) -> Resampled:
    """The leaky ReLU at a higher sampling rate, so that what it adds above the band can be taken
    out again (StyleGAN3, section 3.1)."""
    x = resample(x, up_kernel, up=up, padding=padding)
    return resample(leaky_relu(x, clamp=clamp), down_kernel, down=down)
