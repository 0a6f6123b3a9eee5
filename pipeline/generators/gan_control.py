"""GAN-Control from a file, `gan-control:PATH`: a StyleGAN2 whose latents fall into chunks.

Shoshan et al. 2021 (arXiv 2101.02477): each chunk of z has a mapping network of its own to the
same chunk of w, and training has tied it to one attribute. The file is a checkpoint of the
released code (rosinality's layout of StyleGAN2), read for the tensors of `g_ema` alone.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.generators.stylegan.backend import StyleGenerator
from pipeline.generators.stylegan.files import fill, read_declared
from pipeline.generators.stylegan.layers import DenseStack, StyleNetwork
from pipeline.generators.stylegan.rosinality import mean_of_w, read_checkpoint, resolution_of
from pipeline.generators.stylegan.style2 import Style2Settings, Synthesis2

# Chunks of z and w in their order; gamma is the light.
CHUNKS = {
    "id": 128, "expression": 64, "orientation": 64, "gamma": 64, "age": 64, "hair": 64,
    "other": 64,
}  # fmt: skip
WIDTH = sum(CHUNKS.values())
VARIED = ("expression", "orientation", "gamma", "age")  # what ExFaceGAN (Con) draws for each face
HIDDEN, NUM_LAYERS, MULTIPLIER = 256, 8, 0.01


class SplitMapping(nn.Module):
    """A mapping network a chunk."""

    def __init__(self) -> None:
        super().__init__()
        for name, width in CHUNKS.items():
            widths = [width, *[HIDDEN] * (NUM_LAYERS - 1), width]
            self.add_module(name, DenseStack(widths, MULTIPLIER))

    def forward(self, z: Float[Tensor, "batch z"]) -> Float[Tensor, "batch w"]:
        parts = zip(CHUNKS, torch.split(z, list(CHUNKS.values()), dim=1), strict=True)
        return torch.cat([self.get_submodule(name)(part) for name, part in parts], dim=1)


class GanControlNetwork(StyleNetwork):
    def __init__(self, settings: Style2Settings) -> None:
        super().__init__()
        self.resolution, self.num_ws = settings.img_resolution, 2 * len(settings.sizes)
        self.z_dim = self.w_dim = settings.w_dim
        self.mapping = SplitMapping()
        self.synthesis = Synthesis2(settings)


class GanControl(StyleGenerator):
    def w_mean(self) -> Float[Tensor, " w"]:
        return mean_of_w(self.network.mapping, WIDTH)

    def with_attributes(
        self, latents: Float[Tensor, "batch latent"], z: Float[Tensor, "batch z"]
    ) -> Float[Tensor, "batch latent"]:
        """Expression, pose, light and age of `z`; identity, hair and the rest of `latents`."""
        fresh = self.map(z.to(latents.device)).to(latents.device)
        varied = torch.cat(
            [torch.full((width,), name in VARIED) for name, width in CHUNKS.items()]
        ).repeat(latents.shape[1] // WIDTH)
        return torch.where(varied.to(latents.device), fresh, latents)


def load_file(path: Path) -> GanControl:
    declared = read_declared(path)
    tensors = read_checkpoint(path).tensors
    if "mapping.fc0.weight" in tensors:
        raise InputError(f"{path}: a StyleGAN2 of one mapping; name it stylegan2:{path}")
    settings = Style2Settings(resolution_of(path, tensors))
    network = fill(path, lambda: GanControlNetwork(settings), tensors)
    frame = declared.frame(settings.img_resolution)
    return GanControl(
        declared.name, network, sha256_file(path), frame=frame, licence=declared.licence
    )
