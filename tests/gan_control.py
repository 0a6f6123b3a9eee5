"""Checkpoints in the layout of GAN-Control's released code, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.generators.gan_control import CHUNKS, HIDDEN, NUM_LAYERS
from tests.stylegans import declare

WIDTH = 512  # of latents, and channels at up to 64 pixels


def checkpoint(size: int = 8, seed: int = 0) -> dict[str, Tensor]:
    """`g_ema` of a generator of `size` pixels, name by name."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    def conv(name: str, outputs: int, kernel: int) -> dict[str, Tensor]:
        return {
            f"{name}.conv.weight": drawn(1, outputs, WIDTH, kernel, kernel),
            f"{name}.conv.modulation.weight": drawn(WIDTH, WIDTH),
            f"{name}.conv.modulation.bias": drawn(WIDTH) + 1.0,
        }

    def styled(name: str) -> dict[str, Tensor]:
        layer = {f"{name}.noise.weight": drawn(1), f"{name}.activate.bias": drawn(WIDTH)}
        return conv(name, WIDTH, 3) | layer

    def rgb(name: str) -> dict[str, Tensor]:
        return conv(name, 3, 1) | {f"{name}.bias": drawn(1, 3, 1, 1)}

    blur = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0])] * 2) / 16
    tensors: dict[str, Tensor] = {"input.input": drawn(1, WIDTH, 4, 4)}
    for group, width in CHUNKS.items():
        widths = [width, *[HIDDEN] * (NUM_LAYERS - 1), width]
        for index in range(NUM_LAYERS):
            layer = f"style.{group}.{index + 1}"
            tensors[f"{layer}.weight"] = drawn(widths[index + 1], widths[index], scale=100.0)
            tensors[f"{layer}.bias"] = drawn(widths[index + 1])
    tensors |= styled("conv1") | rgb("to_rgb1")
    tensors["noises.noise_0"] = drawn(1, 1, 4, 4)
    for step in range(size.bit_length() - 3):
        pixels = 8 << step
        tensors |= styled(f"convs.{2 * step}") | {f"convs.{2 * step}.conv.blur.kernel": blur}
        tensors |= styled(f"convs.{2 * step + 1}")
        tensors |= rgb(f"to_rgbs.{step}") | {f"to_rgbs.{step}.upsample.kernel": blur}
        for index in (1, 2):
            tensors[f"noises.noise_{2 * step + index}"] = drawn(1, 1, pixels, pixels)
    return tensors


def plain_checkpoint(size: int = 8, seed: int = 0) -> dict[str, Tensor]:
    """The same with one mapping of eight layers, as rosinality's own code writes it."""
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, Tensor] = {}
    for index in range(1, NUM_LAYERS + 1):
        layers[f"style.{index}.weight"] = torch.randn(WIDTH, WIDTH, generator=generator) * 100.0
        layers[f"style.{index}.bias"] = torch.randn(WIDTH, generator=generator)
    others = {n: own for n, own in checkpoint(size, seed).items() if not n.startswith("style.")}
    return layers | others


def write(path: Path, content: Any) -> Path:
    """As torch saves it, with its declaration beside it."""
    torch.save(content, path)
    return declare(path)


def z_of(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))


def pixel_norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def layers_by_hand(tensors: dict[str, Any], style: str, z: Tensor) -> Tensor:
    """w of one mapping."""
    x = pixel_norm(z)
    for index in range(NUM_LAYERS):
        weight = tensors[f"{style}.{index + 1}.weight"]
        bias = tensors[f"{style}.{index + 1}.bias"]
        x = x @ weight.T * (0.01 / weight.shape[1] ** 0.5) + bias * 0.01
        x = torch.where(x > 0, x, 0.2 * x) * 2**0.5
    return x


def style_by_hand(tensors: dict[str, Any], z: Tensor) -> Tensor:
    """w, chunk by chunk and layer by layer."""
    parts, start = [], 0
    for group, width in CHUNKS.items():
        parts.append(layers_by_hand(tensors, f"style.{group}", z[:, start : start + width]))
        start += width
    return torch.cat(parts, dim=1)
