"""StillNet: residual networks of dense 3x3 convolutions alone, designed on measured rates.

small-resnet in widths that fill whole vectors (multiples of 16), with the map averaged at the end:
no depthwise layer, and no layer that is tied to a size of input. docs/STUDENTS.md has the steps of
the design.
"""

from __future__ import annotations

from torch import nn

from train.students.base import ToUnitRange
from train.students.small_resnet import Stages, trunk

STEM = 16
VARIANTS: dict[str, Stages] = {
    "m": ((16, 1), (32, 2), (64, 2), (160, 2)),  # below a million parameters
    "s": ((16, 1), (32, 2), (48, 2), (96, 1)),  # below 0.3 million
}


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    layers, channels = trunk(STEM, VARIANTS[variant], width)
    head = [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(channels),
        nn.Linear(channels, embedding_width),
    ]
    return nn.Sequential(ToUnitRange(), *layers, *head)
