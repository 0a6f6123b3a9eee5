"""A small residual network of dense 3x3 convolutions with a depthwise head.

Depthwise convolutions are slow to train on a CPU: tests/bench/students.py has this network's
rate beside MobileFaceNet's.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from train.students.base import ToUnitRange, scaled, side_after

Stages = Sequence[tuple[int, int]]  # (channels, blocks)

STEM = 32
STAGES: Stages = ((32, 1), (64, 2), (128, 2), (256, 2))
HALVINGS = 4


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Block(nn.Module):
    """Two 3x3 convolutions beside the identity, or an average pool and a 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride)
        self.second = conv(outputs, outputs, 3)
        shortcut: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
        if inputs != outputs:
            shortcut.append(conv(inputs, outputs, 1))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(functional.relu(self.first(x), inplace=True))
        return functional.relu(out + self.shortcut(x), inplace=True)


def trunk(stem: int, stages: Stages, width: float) -> tuple[list[nn.Module], int]:
    """The layers before a head, and the channels of their map. All stages but the first halve."""
    inputs = scaled(stem, width)
    layers: list[nn.Module] = [conv(3, inputs, 3, 2), nn.ReLU(inplace=True)]
    for stage, (channels, blocks) in enumerate(stages):
        for block in range(blocks):
            outputs = scaled(channels, width)
            layers.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    return layers, inputs


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    layers, channels = trunk(STEM, STAGES, width)
    head = [
        nn.Conv2d(
            channels, channels, side_after(HALVINGS, input_size), groups=channels, bias=False
        ),
        nn.BatchNorm2d(channels),
        nn.Flatten(),
        nn.Linear(channels, embedding_width),
    ]
    return nn.Sequential(ToUnitRange(), *layers, *head)
