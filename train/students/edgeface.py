"""EdgeFace-XXS, -XS, -S (George et al. 2024, arXiv 2307.01838): EdgeNeXt with low-rank linears.

EdgeNeXt (Maaz et al. 2022, arXiv 2206.10589): stages of depthwise convolutions with growing
kernels, the last block of stages 2 to 4 attending between channels; then the mean over the
picture, LayerNorm and a linear layer. XS and S have every linear layer as a product of two, of
rank gamma times its smaller side, the last layer as well: only so do the parameters come to the
published 1.77 M and 3.65 M. XXS has none. Numbers of heads, random weights and the position code of
stage 2 are those of the EdgeNeXt that the released weights name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from train.students.base import ToUnitRange, scaled


@dataclass(frozen=True)
class Shape:
    channels: tuple[int, int, int, int]  # of the four stages
    depths: tuple[int, int, int, int]
    heads: int
    gamma: float | None  # rank of linear layers over their smaller side; None: full


VARIANTS = {
    "xxs": Shape((24, 48, 88, 168), (2, 2, 6, 2), 4, None),
    "xs": Shape((32, 64, 100, 192), (3, 3, 9, 3), 4, 0.6),
    "s": Shape((48, 96, 160, 304), (3, 3, 9, 3), 8, 0.5),
}
KERNELS = (3, 5, 7, 9)
SPLITS = (0, 2, 3, 4)  # groups of channels in a stage's attending block; 0: it has none
SMALLEST = 32  # pixels: the stem and three stages leave one
STEM, EXPANSION = 4, 4  # STEM: side of the patches that the picture is cut into
FREQUENCIES, TEMPERATURE = 32, 10000.0  # of the position code
EPS = 1e-6
RESIDUAL_SCALE = 1e-6  # of a block's change to what passes it, at the start
STD = 0.02  # of random weights


def linear(inputs: int, outputs: int, gamma: float | None) -> nn.Module:
    """A linear layer, or one of low rank: no activation between its two factors, which start as
    torch's layers do."""
    if gamma is None:
        return _started(nn.Linear(inputs, outputs))
    rank = max(2, int(min(inputs, outputs) * gamma))
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs))


def _started(module: nn.Linear | nn.Conv2d) -> nn.Module:
    nn.init.trunc_normal_(module.weight, std=STD, a=-2 * STD, b=2 * STD)
    assert module.bias is not None
    nn.init.zeros_(module.bias)
    return module


def conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    """Patches of the picture, side by side."""
    return _started(nn.Conv2d(inputs, outputs, kernel, stride))


def depthwise(channels: int, kernel: int) -> nn.Module:
    return _started(nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, EPS)

    def forward(
        self, x: Float[Tensor, "batch channels h w"]
    ) -> Float[Tensor, "batch channels h w"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mixing(nn.Module):
    """LayerNorm and two linear layers over the channels of every pixel, scaled."""

    def __init__(self, channels: int, gamma: float | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, EPS)
        self.grow = linear(channels, EXPANSION * channels, gamma)
        self.shrink = linear(EXPANSION * channels, channels, gamma)
        self.scale = nn.Parameter(torch.full((channels,), RESIDUAL_SCALE))

    def forward(
        self, x: Float[Tensor, "batch channels h w"]
    ) -> Float[Tensor, "batch channels h w"]:
        out = functional.gelu(self.grow(self.norm(x.permute(0, 2, 3, 1))))
        return (self.scale * self.shrink(out)).permute(0, 3, 1, 2)


class ConvBlock(nn.Module):
    """A depthwise convolution, then channels are mixed; the identity beside both."""

    def __init__(self, channels: int, kernel: int, gamma: float | None) -> None:
        super().__init__()
        self.depthwise = depthwise(channels, kernel)
        self.mixing = Mixing(channels, gamma)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixing(self.depthwise(x))


class ChannelAttention(nn.Module):
    """Attention between channels (cross-covariance, arXiv 2106.09681): its cost grows with the
    number of pixels, not with its square."""

    def __init__(self, channels: int, heads: int, gamma: float | None) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads))  # one axis: weights do not decay on it
        self.norm = nn.LayerNorm(channels, EPS)
        self.query_key_value = linear(channels, 3 * channels, gamma)
        self.project = linear(channels, channels, gamma)
        self.scale = nn.Parameter(torch.full((channels,), RESIDUAL_SCALE))

    def forward(
        self, x: Float[Tensor, "batch pixel channel"]
    ) -> Float[Tensor, "batch pixel channel"]:
        three = self.query_key_value(self.norm(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = three.permute(2, 0, 3, 4, 1)  # each "batch head channel pixel"
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        alike = query @ key.transpose(-2, -1) * self.temperature[:, None, None]
        weights = alike.softmax(dim=-1)
        return self.scale * self.project((weights @ value).permute(0, 3, 1, 2).flatten(2))


class PositionCode(nn.Module):
    """Sines and cosines of a pixel's row and column, mixed to the channels of the map."""

    waves: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.mix = conv(2 * FREQUENCIES, channels, 1, 1)
        self.register_buffer("waves", position_waves(side), persistent=False)

    def forward(self, x: Float[Tensor, "batch channels side side"]) -> Tensor:
        return x + self.mix(self.waves)


def position_waves(side: int) -> Float[Tensor, "1 wave side side"]:
    """For every pixel: sines and cosines of its row in turn, then those of its column. Angles run
    up to a full turn at the lowest frequency."""
    angles = torch.arange(1, side + 1) / (side + EPS) * 2 * math.pi
    powers = torch.arange(0, FREQUENCIES, 2) / FREQUENCIES
    turns = angles[:, None] / TEMPERATURE**powers
    waves = torch.stack([turns.sin(), turns.cos()], dim=2).flatten(1).T  # "wave side"
    rows = waves[:, :, None].expand(-1, -1, side)
    columns = waves[:, None, :].expand(-1, side, -1)
    return torch.cat([rows, columns])[None]


class SplitAttentionBlock(nn.Module):
    """Groups of channels convolved one after another, each with the last one's result added, but
    for the last group; then channels attend to each other and are mixed (SDTA)."""

    def __init__(self, shape: Shape, stage: int, side: int) -> None:
        super().__init__()
        channels, splits = shape.channels[stage], SPLITS[stage]
        self.groups = [len(own) for own in torch.arange(channels).chunk(splits)]
        self.convs = nn.ModuleList(depthwise(count, 3) for count in self.groups[:-1])
        self.position = PositionCode(channels, side) if stage == 1 else nn.Identity()
        self.attention = ChannelAttention(channels, shape.heads, shape.gamma)
        self.mixing = Mixing(channels, shape.gamma)

    def forward(self, x: Float[Tensor, "batch channels side side"]) -> Tensor:
        *groups, last = torch.split(x, self.groups, dim=1)
        done: list[Tensor] = []
        for conv, group in zip(self.convs, groups, strict=True):
            done.append(conv(group + done[-1] if done else group))
        out = self.position(torch.cat([*done, last], dim=1))
        pixels = out.flatten(2).transpose(1, 2)
        pixels = pixels + self.attention(pixels)
        out = pixels.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.mixing(out)


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    """At width 1 and 512 outputs: the published networks."""
    if input_size < SMALLEST:
        raise InputError(f"student edgeface: input_size {input_size}, expected at least {SMALLEST}")
    shape = _scaled(VARIANTS[variant], width)
    layers: list[nn.Module] = [ToUnitRange()]
    side, inputs = input_size // STEM, 3
    for stage, (channels, depth) in enumerate(zip(shape.channels, shape.depths, strict=True)):
        if stage == 0:
            layers += [conv(inputs, channels, STEM, STEM), ChannelNorm(channels)]
        else:
            layers += [ChannelNorm(inputs), conv(inputs, channels, 2, 2)]
            side //= 2
        attends = SPLITS[stage] > 0
        count = depth - 1 if attends else depth
        layers += [ConvBlock(channels, KERNELS[stage], shape.gamma) for _ in range(count)]
        layers += [SplitAttentionBlock(shape, stage, side)] if attends else []
        inputs = channels
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(inputs, EPS)]
    return nn.Sequential(*layers, *head, linear(inputs, embedding_width, shape.gamma))


def _scaled(shape: Shape, width: float) -> Shape:
    one, two, three, four = (scaled(own, width, shape.heads) for own in shape.channels)
    return replace(shape, channels=(one, two, three, four))
