"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573): inverted residuals, depthwise head."""

from __future__ import annotations

from torch import Tensor, nn

from train.students.base import ToUnitRange, scaled, side_after

# (expansion, channels, repeats, first stride), Table 1 of the paper.
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
HALVINGS = 4


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs),
    )


class Bottleneck(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 linear projection; a residual where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.path = nn.Sequential(
            conv(inputs, middle, 1),
            conv(middle, middle, 3, stride, groups=middle),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x) if self.residual else self.path(x)


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    """At width 1, input 112 and 128 outputs: the network of the paper, 0.99 M parameters."""
    stem = scaled(64, width)
    layers: list[nn.Module] = [conv(3, stem, 3, 2), conv(stem, stem, 3, groups=stem)]
    inputs = stem
    for expansion, channels, repeats, stride in STAGES:
        for index in range(repeats):
            outputs = scaled(channels, width)
            layers.append(Bottleneck(inputs, outputs, stride if index == 0 else 1, expansion))
            inputs = outputs
    last = scaled(512, width)
    side = side_after(HALVINGS, input_size)
    head = [
        nn.Conv2d(last, last, side, groups=last, bias=False),
        nn.BatchNorm2d(last),
        nn.Flatten(),
        nn.Linear(last, embedding_width, bias=False),
        nn.BatchNorm1d(embedding_width),
    ]
    return nn.Sequential(ToUnitRange(), *layers, conv(inputs, last, 1), *head)
