"""What a student promises. A backend is a file here with `build(...) -> nn.Module`.

A student takes RGB pictures in [0, 255], float "batch 3 size size", in the arcface112 region,
and returns embeddings "batch width": its own normalisation is part of the network, so that an
exported student cannot be fed wrongly.
"""

from __future__ import annotations

from torch import Tensor, nn


class ToUnitRange(nn.Module):
    """[0, 255] to about [-1, 1], the field's convention."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - 127.5) / 128.0


def scaled(channels: int, width: float, step: int = 8) -> int:
    """`channels` times the width multiplier, rounded to a multiple of `step` (at least 8)."""
    return max(8, int(channels * width / step + 0.5) * step)


def side_after(halvings: int, input_size: int) -> int:
    """Pixels that so many strides of 2, each rounding up, leave of a side."""
    return -(-input_size // 2**halvings)


def num_params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
