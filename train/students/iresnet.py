"""IResNet-18, -34, -50, -100: the networks of ArcFace and of most face recognition since.

Deng et al. 2019 (arXiv 1801.07698, §3.1) with the residual units of Duta et al. 2020 (arXiv
2004.04989), named as the published checkpoints of InsightFace's arcface_torch name them:
`network[1]` of a student at 112 pixels takes such a state dict as it is. Two things differ. The
published scale of the last BatchNorm is frozen at 1, which would hold every component of the
embedding at one variance; here it is trained, since a teacher's components differ. And the
published networks are fed (x - 127.5) / 127.5, students (x - 127.5) / 128.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from train.students.base import ToUnitRange, scaled, side_after

# Residual units of the four stages, each of which halves the picture in its first unit.
UNITS = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 14, 3), "100": (3, 13, 30, 3)}
# Before the linear layer, in training: of CR-FIQA's networks and of the ResNet-50 of Neto et al.
# (arXiv 2408.17399); arcface_torch has none.
DROPOUT = 0.4
VARIANTS = {name: (units, 0.0) for name, units in UNITS.items()} | {
    f"{name}-dropout": (UNITS[name], DROPOUT) for name in ("50", "100")
}
CHANNELS = (64, 128, 256, 512)
HALVINGS = 4
# With fewer, oneDNN writes past its workspace in the gradient of a strided 1x1 convolution, and the
# process dies or learns from wrong gradients (uxlfoundation/oneDNN issue 6035; AVX-512).
LEAST_CHANNELS = 16
STD = 0.1  # of random filters, as published


class Unit(nn.Module):
    """BatchNorm, conv3x3, BatchNorm, PReLU, conv3x3, BatchNorm beside the identity, or beside a
    strided conv1x1 with BatchNorm where the picture is halved."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        shortcut = (nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.downsample = nn.Sequential(*shortcut if stride > 1 else ())

    def forward(self, x: Tensor) -> Tensor:
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(out)) + self.downsample(x)


class IResNet(nn.Module):
    """Pictures in about [-1, 1] -> embeddings, not of unit length."""

    def __init__(
        self,
        units: Sequence[int],
        channels: Sequence[int],
        side: int,
        embedding_width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        stem, last = channels[0], channels[-1]
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.prelu = nn.PReLU(stem)
        widths = (stem, *channels)
        stages = [_stage(widths[at], widths[at + 1], count) for at, count in enumerate(units)]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(last)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.fc = nn.Linear(last * side**2, embedding_width)
        self.features = nn.BatchNorm1d(embedding_width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, STD)

    def forward(self, x: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.features(self.fc(self.dropout(self.bn2(x).flatten(1))))


def _stage(inputs: int, outputs: int, count: int) -> nn.Sequential:
    rest = (Unit(outputs, outputs, 1) for _ in range(count - 1))
    return nn.Sequential(Unit(inputs, outputs, 2), *rest)


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    """At width 1, input 112 and 512 outputs: the published networks."""
    channels = [max(LEAST_CHANNELS, scaled(channels, width)) for channels in CHANNELS]
    side = side_after(HALVINGS, input_size)
    units, dropout = VARIANTS[variant]
    network = IResNet(units, channels, side, embedding_width, dropout)
    return nn.Sequential(ToUnitRange(), network)
