"""TinyFaR-A, -B, -C: the students of SynthDistill (Shahreza et al. 2023, arXiv 2308.14852).

TinyNets (Han et al. 2020, arXiv 2010.14819): inverted residuals with squeeze-and-excitation as in
EfficientNet-B0, of other depths and widths, then the mean over the picture and one linear layer.
SynthDistill starts from weights of ImageNet, which are not here: these start at random.
Not in the papers, and taken from the networks that SynthDistill names: the squeezed width is a
quarter of a block's inputs, the stem has 32 channels in every variant, padding is symmetric.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import silu

from train.students.base import ToUnitRange, scaled

STEM, HEAD, EXPANSION, SQUEEZE = 32, 1280, 6, 4
# Of each stage: blocks, kernel, stride of the first block, channels. The first stage is depthwise
# separable: its blocks do not expand.
VARIANTS = {
    "a": (
        (1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (4, 3, 2, 80),
        (4, 5, 1, 112), (5, 5, 2, 192), (1, 3, 1, 320),
    ),
    "b": (
        (1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 32), (3, 3, 2, 64),
        (3, 5, 1, 88), (4, 5, 2, 144), (1, 3, 1, 240),
    ),
    "c": (
        (1, 3, 1, 8), (2, 3, 2, 16), (2, 5, 2, 24), (3, 3, 2, 40),
        (3, 5, 1, 64), (3, 5, 2, 104), (1, 3, 1, 176),
    ),
}  # fmt: skip


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class SqueezeExcite(nn.Module):
    """Every channel times a gate that the means of all channels decide."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.expand(silu(self.reduce(means))).sigmoid()


class Block(nn.Module):
    """1x1 expansion, depthwise, squeeze-and-excitation, 1x1 linear projection; a residual where
    shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.path = nn.Sequential(
            *([*conv(inputs, middle, 1), nn.SiLU()] if expansion > 1 else []),
            *conv(middle, middle, kernel, stride, groups=middle),
            nn.SiLU(),
            SqueezeExcite(middle, inputs // SQUEEZE),
            *conv(middle, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x) if self.residual else self.path(x)


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    """At width 1, input 112 and 512 outputs: the networks of SynthDistill."""
    inputs = scaled(STEM, width)
    layers: list[nn.Module] = [conv(3, inputs, 3, 2), nn.SiLU()]
    for stage, (repeats, kernel, stride, channels) in enumerate(VARIANTS[variant]):
        for index in range(repeats):
            outputs = scaled(channels, width)
            step, expansion = stride if index == 0 else 1, EXPANSION if stage else 1
            layers.append(Block(inputs, outputs, kernel, step, expansion))
            inputs = outputs
    head = scaled(HEAD, width)
    layers += [conv(inputs, head, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(ToUnitRange(), *layers, nn.Linear(head, embedding_width))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _start(module)
    return network


def _start(module: nn.Conv2d) -> None:
    """EfficientNet's random weights: the variance of a layer's outputs is that of its inputs,
    going backwards."""
    fan_out = module.out_channels * math.prod(module.kernel_size) / module.groups
    nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
    if module.bias is not None:
        nn.init.zeros_(module.bias)
