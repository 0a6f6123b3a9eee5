"""StillNet: residual networks of dense 3x3 convolutions alone, designed on measured rates.

Every convolution is one that matrix units (AMX, tensor cores), 8-bit kernels and plain vectors do
at nearly their full rate: dense, of 16 to 160 channels, 32 and its multiples from 16x16 pixels
down. The map is averaged at the end: no depthwise layer, no layer that is tied to a size of
input. docs/STUDENTS.md has the steps of the design, each measured.
"""

from __future__ import annotations

from torch import nn

from train.students.base import ToUnitRange, scaled
from train.students.small_resnet import Block, conv

STEM = 16
VARIANTS = {  # (channels, blocks) a stage; all stages but the first halve
    "m": ((16, 1), (32, 2), (64, 2), (160, 2)),  # below a million parameters
    "s": ((16, 1), (32, 2), (48, 2), (96, 1)),  # below 0.3 million
}


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    inputs = scaled(STEM, width)
    layers: list[nn.Module] = [conv(3, inputs, 3, 2), nn.ReLU(inplace=True)]
    for stage, (channels, blocks) in enumerate(VARIANTS[variant]):
        for block in range(blocks):
            outputs = scaled(channels, width)
            layers.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    head = [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(inputs),
        nn.Linear(inputs, embedding_width),
    ]
    return nn.Sequential(ToUnitRange(), *layers, *head)
