"""StyleGAN2, config F (Karras et al. 2020, arXiv 1912.04958): skip architecture, constant noise.

Modulation scales the channels that go into a convolution, demodulation those that come out: the
same numbers as weights of their own for each row (equations 1-3), and one convolution for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from pipeline.generators.stylegan.layers import Dense, Mapping, StyleNetwork, demodulation
from pipeline.generators.stylegan.resampling import binomial, leaky_relu, resample

SMALLEST = 4  # pixels of the constant that all pictures start from


@dataclass(frozen=True)
class Style2Settings:
    """Under the names of the official code; w_dim is the width of a layer of the mapping, too."""

    img_resolution: int
    z_dim: int = 512
    w_dim: int = 512
    channel_base: int = 32768
    channel_max: int = 512
    mapping_num_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    conv_clamp: float | None = None

    @property
    def sizes(self) -> list[int]:
        """Pixels of the blocks. Raises InputError unless the resolution is a power of two."""
        steps = self.img_resolution.bit_length() - 1
        if self.img_resolution < SMALLEST or 1 << steps != self.img_resolution:
            raise InputError(f"img_resolution {self.img_resolution}, expected a power of two")
        return [1 << step for step in range(2, steps + 1)]

    def channels(self, size: int) -> int:
        return min(self.channel_base // size, self.channel_max)


class StyledConvolution(nn.Module):
    noise_const: Tensor

    def __init__(
        self, inputs: int, outputs: int, size: int, settings: Style2Settings, *, up: bool
    ) -> None:
        super().__init__()
        self.affine = Dense(settings.w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.clamp = settings.conv_clamp
        self.up = up

    def forward(
        self, x: Float[Tensor, "batch in height width"], w: Float[Tensor, "batch w"]
    ) -> Float[Tensor, "batch out size size"]:
        styles = self.affine(w)
        x = x * styles[:, :, None, None]
        if self.up:
            x = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            # The transposed convolution has put the zeros in: the filter's gain is left to do.
            x = resample(x, binomial().to(x) * 2.0, padding=(1, 1))
        else:
            x = functional.conv2d(x, self.weight, padding=1)
        x = x * demodulation(self.weight, styles)[:, :, None, None]
        x = x + self.noise_const * self.noise_strength + self.bias[:, None, None]
        return leaky_relu(x, clamp=self.clamp)


class ToRgb(nn.Module):
    def __init__(self, inputs: int, settings: Style2Settings) -> None:
        super().__init__()
        self.affine = Dense(settings.w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.clamp = settings.conv_clamp

    def forward(
        self, x: Float[Tensor, "batch in size size"], w: Float[Tensor, "batch w"]
    ) -> Float[Tensor, "batch 3 size size"]:
        styles = self.affine(w) / self.weight.shape[1] ** 0.5
        x = functional.conv2d(x * styles[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class FirstBlock(nn.Module):
    """From the learned constant: what the next block takes, and the picture so far."""

    def __init__(self, settings: Style2Settings) -> None:
        super().__init__()
        channels = settings.channels(SMALLEST)
        self.const = nn.Parameter(torch.randn(channels, SMALLEST, SMALLEST))
        self.conv1 = StyledConvolution(channels, channels, SMALLEST, settings, up=False)
        self.torgb = ToRgb(channels, settings)

    def forward(self, w: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.const.expand(len(w[0]), -1, -1, -1), w[0])
        return x, self.torgb(x, w[1])


class Block(nn.Module):
    """Twice the size, and its part added to the picture."""

    def __init__(self, size: int, settings: Style2Settings) -> None:
        super().__init__()
        inputs, outputs = settings.channels(size // 2), settings.channels(size)
        self.conv0 = StyledConvolution(inputs, outputs, size, settings, up=True)
        self.conv1 = StyledConvolution(outputs, outputs, size, settings, up=False)
        self.torgb = ToRgb(outputs, settings)

    def forward(self, x: Tensor, picture: Tensor, w: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.conv0(x, w[0]), w[1])
        larger = resample(picture, binomial().to(x), up=2, padding=(2, 1))
        return x, larger + self.torgb(x, w[2])


class Synthesis2(nn.Module):
    def __init__(self, settings: Style2Settings) -> None:
        super().__init__()
        self.sizes = settings.sizes
        self.add_module(f"b{SMALLEST}", FirstBlock(settings))
        for size in self.sizes[1:]:
            self.add_module(f"b{size}", Block(size, settings))

    def forward(self, ws: Float[Tensor, "batch layer w"]) -> Float[Tensor, "batch 3 size size"]:
        """RGB, -1 to 1 but for overshoots. A block's ToRGB shares its w with the next block."""
        w = ws.unbind(dim=1)
        x, picture = self.get_submodule(f"b{SMALLEST}")(w[:2])
        for index, size in enumerate(self.sizes[1:]):
            at = 2 * index + 1
            x, picture = self.get_submodule(f"b{size}")(x, picture, w[at : at + 3])
        return picture


class Style2Network(StyleNetwork):
    def __init__(self, settings: Style2Settings) -> None:
        super().__init__()
        self.resolution = settings.img_resolution
        self.z_dim, self.w_dim = settings.z_dim, settings.w_dim
        self.num_ws = 2 * len(settings.sizes)
        widths = [settings.z_dim] + [settings.w_dim] * settings.mapping_num_layers
        self.mapping = Mapping(widths, settings.mapping_lr_multiplier)
        self.synthesis = Synthesis2(settings)
