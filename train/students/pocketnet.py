"""PocketNetS-128, S-256, M-128, M-256 (Boutros et al. 2022, IEEE Access 10, arXiv 2108.10710).

Cells found by a search on CASIA-WebFace, each of four nodes that add two edges; the depthwise head
of MobileFaceNet. An S and an M come with embeddings of 128 and of 256 numbers, which are their
names: for a teacher of another width, set `train.student.projected_from`.
Where the previous cell halved the picture, the published network takes every second pixel, once
from the first and once from the second row and column. Here the shifted picture has a row and a
column of zeros after it, so that odd sides halve too; on even sides it is the same network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from train.students.base import ToUnitRange, scaled, side_after


@dataclass(frozen=True)
class Shape:
    channels: int  # of one node in the first cells; doubled in every cell that halves
    cells: int
    embedding_width: int


VARIANTS = {
    "s128": Shape(16, 18, 128),
    "s256": Shape(16, 18, 256),
    "m128": Shape(32, 9, 128),
    "m256": Shape(32, 9, 256),
}
STEM, HEAD, HALVINGS = 4, 512, 4  # STEM: times the channels of the first cells
NODES = 4
Edge = tuple[str, int]  # an operation, and where from: 0, 1 the two cells before, 2… own nodes
NORMAL: tuple[tuple[Edge, Edge], ...] = (
    (("dw3", 0), ("dw1", 1)),
    (("dw3", 2), ("dw5", 0)),
    (("dw3", 3), ("dw3", 0)),
    (("dw3", 4), ("skip", 0)),
)
HALVING: tuple[tuple[Edge, Edge], ...] = (
    (("dw3", 1), ("dw7", 0)),
    (("skip", 2), ("dw5", 1)),
    (("max3", 0), ("skip", 2)),
    (("max3", 0), ("max3", 1)),
)


class ChannelScale(nn.Module):
    """A depthwise 1x1 convolution, which is one factor a channel. As a convolution it is torch's
    slowest: it goes channel by channel, and took 26 of the 38 ms of PocketNetS for one face."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(channels, 1, 1, 1))
        nn.init.kaiming_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride] * self.weight[:, 0]


def depthwise(channels: int, kernel: int, stride: int) -> nn.Module:
    if kernel == 1:
        return ChannelScale(channels, stride)
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


def separable(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """PReLU, depthwise, 1x1, BatchNorm."""
    return nn.Sequential(
        nn.PReLU(inputs),
        depthwise(inputs, kernel, stride),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


def pooling(channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(channels))


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "dw1": lambda channels, stride: separable(channels, channels, 1, stride),
    "dw3": lambda channels, stride: separable(channels, channels, 3, stride),
    "dw5": lambda channels, stride: separable(channels, channels, 5, stride),
    "dw7": lambda channels, stride: separable(channels, channels, 7, stride),
    "max3": pooling,
    "skip": lambda channels, stride: nn.Identity(),
}


class FactorisedHalving(nn.Module):
    """Half of the channels from the even pixels, half from the odd ones."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.prelu = nn.PReLU(inputs)
        self.even = _every_second(inputs, outputs // 2)
        self.odd = _every_second(inputs, outputs // 2)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(x)
        shifted = functional.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))


def _every_second(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ChannelScale(inputs, 2), nn.Conv2d(inputs, outputs, 1, bias=False))


class Cell(nn.Module):
    """Four nodes side by side from the outputs of the two cells before."""

    def __init__(
        self, inputs: tuple[int, int], channels: int, *, after_halving: bool, halves: bool
    ) -> None:
        super().__init__()
        first = FactorisedHalving if after_halving else _same_side
        self.first = first(inputs[0], channels)
        self.second = _same_side(inputs[1], channels)
        nodes = HALVING if halves else NORMAL
        self.sources = [[source for _, source in node] for node in nodes]
        self.edges = nn.ModuleList(
            OPERATIONS[name](channels, 2 if halves and source < 2 else 1)
            for node in nodes
            for name, source in node
        )

    def forward(
        self,
        before: Float[Tensor, "batch inputs earlier earlier"],
        last: Float[Tensor, "batch channels side side"],
    ) -> Float[Tensor, "batch outputs smaller smaller"]:
        states = [self.first(before), self.second(last)]
        for at, (one, other) in enumerate(self.sources):
            left, right = self.edges[2 * at], self.edges[2 * at + 1]
            states.append(left(states[one]) + right(states[other]))
        return torch.cat(states[2:], dim=1)


def _same_side(inputs: int, outputs: int) -> nn.Sequential:
    return separable(inputs, outputs, 1, 1)


class PocketNet(nn.Module):
    """Pictures in about [-1, 1] -> embeddings, not of unit length."""

    def __init__(self, shape: Shape, head: int, side: int) -> None:
        super().__init__()
        channels, stem = shape.channels, STEM * shape.channels
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList()
        halving = {shape.cells // 3, 2 * shape.cells // 3, shape.cells - 1}
        inputs = (stem, stem)
        for at in range(shape.cells):
            channels *= 2 if at in halving else 1
            after, halves = at - 1 in halving, at in halving
            self.cells.append(Cell(inputs, channels, after_halving=after, halves=halves))
            inputs = (inputs[1], NODES * channels)
        self.head = nn.Sequential(
            nn.PReLU(inputs[1]),
            nn.Conv2d(inputs[1], head, 1, bias=False),
            nn.BatchNorm2d(head),
            nn.PReLU(head),
            nn.Conv2d(head, head, side, groups=head, bias=False),
            nn.BatchNorm2d(head),
            nn.Conv2d(head, shape.embedding_width, 1, bias=False),
            nn.BatchNorm2d(shape.embedding_width),
            nn.Flatten(),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)

    def forward(self, x: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.head(last)


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    """At width 1 and input 112: the published networks.

    Raises InputError for an embedding of another width than the variant's.
    """
    shape = VARIANTS[variant]
    if embedding_width != shape.embedding_width:
        raise InputError(
            f"student pocketnet-{variant}: its embeddings have {shape.embedding_width} numbers, "
            f"{embedding_width} are asked for; set train.student.projected_from: "
            f"{shape.embedding_width}, and a linear layer leads from the one to the other"
        )
    narrow = Shape(scaled(shape.channels, width), shape.cells, shape.embedding_width)
    side = side_after(HALVINGS, input_size)
    return nn.Sequential(ToUnitRange(), PocketNet(narrow, scaled(HEAD, width), side))
