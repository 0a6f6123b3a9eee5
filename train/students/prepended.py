"""The Prepended Domain Transformer: a small block that makes a picture of another modality one
that a frozen face network can read.

George, Mohammadi & Marcel (TIFS 2022, arXiv 2210.06529); its layers are those of the module that
the authors released: an Inception block of four branches, attention (CBAM; Woo et al. 2018, arXiv
1807.06521), and back to three channels. 1,449 parameters at the published width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 6  # channels of a branch
REDUCTION, KERNEL = 4, 7  # of the attention over channels and over places
CENTRE = 127.5  # of pixels: the block itself sees them in [-1, 1]


class PrependedBlock(nn.Module):
    """RGB in [0, 255], float "batch 3 height width" -> the same form, for the network behind it.

    What comes out is no picture for people, and not held to [0, 255].
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        half = width // 2
        self.one = nn.Sequential(_conv(3, width, 1), nn.ReLU())
        self.five = nn.Sequential(_conv(3, half, 1), nn.ReLU(), _conv(half, width, 5), nn.ReLU())
        self.threes = nn.Sequential(
            _conv(3, half, 1), nn.ReLU(),
            _conv(half, width, 3), nn.ReLU(),
            _conv(width, width, 3), nn.ReLU(),
        )  # fmt: skip
        self.pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1), _conv(3, width, 1), nn.ReLU())
        self.attention = Attention(4 * width)
        self.back = _conv(4 * width, 3, 1)

    def forward(
        self, pictures: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        x = (pictures - CENTRE) / CENTRE
        branches = [self.one(x), self.five(x), self.threes(x), self.pooled(x)]
        out: Tensor = self.back(self.attention(torch.cat(branches, dim=1)))
        return out * CENTRE + CENTRE


class Attention(nn.Module):
    """CBAM: weights for channels, then for places, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // REDUCTION
        self.channels = nn.Sequential(
            _conv(channels, narrow, 1), nn.ReLU(), _conv(narrow, channels, 1)
        )
        self.places = nn.Conv2d(2, 1, KERNEL, padding=KERNEL // 2)

    def forward(self, x: Tensor) -> Tensor:
        most, mean = x.amax(dim=(2, 3), keepdim=True), x.mean(dim=(2, 3), keepdim=True)
        out = x * torch.sigmoid(self.channels(most) + self.channels(mean))
        over = torch.cat([out.amax(dim=1, keepdim=True), out.mean(dim=1, keepdim=True)], dim=1)
        return out * torch.sigmoid(self.places(over)) + x


class Adapted(nn.Module):
    """A block before a network: one network for pictures of the block's modality."""

    def __init__(self, block: PrependedBlock, network: nn.Module) -> None:
        super().__init__()
        self.block, self.network = block, network

    def forward(self, pictures: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        embeddings: Tensor = self.network(self.block(pictures))
        return embeddings

    def unit(self, pictures: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        """Embeddings of unit length, as the contrast takes them."""
        return functional.normalize(self(pictures))


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
