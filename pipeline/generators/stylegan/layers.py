"""Layers that StyleGAN2 and StyleGAN3 share. Parameters bear the names of the official files."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pipeline.generators.stylegan.resampling import leaky_relu

EPSILON = 1e-8


class Dense(nn.Module):
    """A linear layer with the equalised learning rate: weights are stored 1/multiplier as large
    as they act, divided by the square root of their number."""

    def __init__(self, inputs: int, outputs: int, *, multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.multiplier = multiplier

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        gain = self.multiplier / self.weight.shape[1] ** 0.5
        return functional.linear(x, self.weight * gain, self.bias * self.multiplier)


class DenseStack(nn.Module):
    """z -> w: the latent brought to unit second moment, then leaky dense layers fc0, fc1, …"""

    def __init__(self, widths: Sequence[int], multiplier: float) -> None:
        super().__init__()
        self.num_layers = len(widths) - 1
        for index in range(self.num_layers):
            layer = Dense(widths[index], widths[index + 1], multiplier=multiplier)
            self.add_module(f"fc{index}", layer)

    def forward(self, z: Float[Tensor, "batch z"]) -> Float[Tensor, "batch w"]:
        x = z * (z.square().mean(1, keepdim=True) + EPSILON).rsqrt()
        for index in range(self.num_layers):
            x = leaky_relu(self.get_submodule(f"fc{index}")(x))
        return x


class Mapping(DenseStack):
    """With the mean of w that training has kept, the centre of truncation."""

    w_avg: Tensor

    def __init__(self, widths: Sequence[int], multiplier: float) -> None:
        super().__init__(widths, multiplier)
        self.register_buffer("w_avg", torch.zeros(widths[-1]))


class StyleNetwork(nn.Module):
    """Mapping and synthesis. `num_ws`: copies of w that the synthesis takes, one a layer."""

    num_ws: int
    resolution: int  # pixels
    w_dim: int
    z_dim: int
    mapping: nn.Module
    synthesis: nn.Module


def demodulation(
    weight: Float[Tensor, "out in k k"], styles: Float[Tensor, "batch in"]
) -> Float[Tensor, "batch out"]:
    """What brings the outputs of a modulated convolution back to unit variance (StyleGAN2, arXiv
    1912.04958, equation 3)."""
    # Not a matrix product: there, the low bits of a row may depend on its place in the batch
    # (measured with 323 inputs).
    energy = styles.square()[:, None, :] * weight.square().sum(dim=(2, 3))
    return (energy.sum(dim=2) + EPSILON).rsqrt()
