"""GAN-Control from a file, `gan-control:PATH`: a StyleGAN2 whose latents fall into chunks.

Shoshan et al. 2021 (arXiv 2101.02477): each chunk of z has a mapping network of its own to the
same chunk of w, and training has tied it to one attribute. The file is a checkpoint of the
released code (rosinality's layout of StyleGAN2), read for the tensors of `g_ema` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.foreign.torch_files import UnreadableFile, fault_of, read_torch_file
from pipeline.generators.stylegan.backend import StyleGenerator
from pipeline.generators.stylegan.files import MOST_PIXELS, fill, read_declared
from pipeline.generators.stylegan.layers import DenseStack, StyleNetwork
from pipeline.generators.stylegan.pickled import MOST_BYTES
from pipeline.generators.stylegan.resampling import binomial
from pipeline.generators.stylegan.style2 import Style2Settings, Synthesis2

# Chunks of z and w in their order; gamma is the light.
CHUNKS = {
    "id": 128, "expression": 64, "orientation": 64, "gamma": 64, "age": 64, "hair": 64,
    "other": 64,
}  # fmt: skip
WIDTH = sum(CHUNKS.values())
VARIED = ("expression", "orientation", "gamma", "age")  # what ExFaceGAN (Con) draws for each face
HIDDEN, NUM_LAYERS, MULTIPLIER = 256, 8, 0.01
MEAN_DRAWS = 16384  # of z, for the mean of w, which the files do not hold
PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
FIRST_CONV, FIRST_RGB = "synthesis.b4.conv1", "synthesis.b4.torgb"
FILTERS = re.compile(r".*\.(blur|upsample)\.kernel")


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
        return mean_of_w(self.network.mapping)

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
    tensors = official_names(path, read_tensors(path))
    blocks = (re.match(r"synthesis\.b(\d+)\.", name) for name in tensors)
    sizes = [int(block.group(1)) for block in blocks if block]
    settings = Style2Settings(max(sizes, default=4))
    if settings.img_resolution > MOST_PIXELS:
        raise InputError(f"{path}: {settings.img_resolution} pixels, at most {MOST_PIXELS}")
    network = fill(path, lambda: GanControlNetwork(settings), tensors)
    frame = declared.frame(settings.img_resolution)
    return GanControl(
        declared.name, network, sha256_file(path), frame=frame, licence=declared.licence
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of `g_ema`, by the checkpoint's names."""
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES} bytes")
    try:
        found = read_torch_file(path)
    except UnreadableFile as error:
        raise InputError(f"{path}: not a checkpoint of tensors ({error})") from None
    weights = found.get("g_ema") if isinstance(found, dict) else None
    if not isinstance(weights, dict):
        raise InputError(f"{path}: no g_ema in it; expected a checkpoint of GAN-Control")
    for name, value in weights.items():
        if type(name) is not str or not isinstance(value, Tensor):
            raise InputError(f"{path}: g_ema: {str(name)[:80]} is no tensor")
        if fault := fault_of(value):
            raise InputError(f"{path}: g_ema: {name[:80]} is {fault}, expected numbers in order")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def official_names(path: Path, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """rosinality's names as those of the official StyleGAN2."""
    tensors = {}
    for name, value in given.items():
        if FILTERS.fullmatch(name):
            _require_usual_filter(path, name, value)
            continue
        official = _official_name(name)
        if official is None:
            raise InputError(f"{path}: g_ema: {name[:80]} is of no known layer")
        tensors[official] = _bare(value, _axes(official))
    return tensors


def _bare(value: Tensor, axes: int) -> Tensor:
    """Without axes of length 1 at its ends, as far as there are too many; see `fill` for more."""
    while value.ndim > axes and len(value) == 1:
        value = value[0]
    return value.flatten() if axes == 1 else value


def _require_usual_filter(path: Path, name: str, value: Tensor) -> None:
    usual = torch.outer(binomial(), binomial())
    if value.shape != usual.shape or not torch.allclose(value.float() / value.float().sum(), usual):
        raise InputError(f"{path}: g_ema: {name} is another filter than [1, 3, 3, 1]")


def _axes(official: str) -> int:
    ends = {"const": 3, "noise_const": 2, "noise_strength": 0, "bias": 1}
    last = official.rpartition(".")[2]
    return ends.get(last, 4 if ".affine." not in official and "synthesis" in official else 2)


def _official_name(name: str) -> str | None:
    if name == "input.input":
        return "synthesis.b4.const"
    if found := re.fullmatch(r"style\.([a-z]+)\.([1-9])\.(weight|bias)", name):
        return f"mapping.{found[1]}.fc{int(found[2]) - 1}.{found[3]}"
    if found := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        return f"{_layer('convs', int(found[1]) - 1)}.noise_const"
    found = re.fullmatch(r"(convs|to_rgbs|conv1|to_rgb1)(?:\.(\d{1,2}))?\.(\D+)", name)
    if not found or found[3] not in PARTS or (found[2] is None) != found[1].endswith("1"):
        return None
    return f"{_layer(found[1].rstrip('1s'), int(found[2] or -1))}.{PARTS[found[3]]}"


def _layer(kind: str, index: int) -> str:
    """The layer of that place behind the first block; -1 is the first block's own."""
    if kind.startswith("conv"):
        return f"synthesis.b{8 << (index // 2)}.conv{index % 2}" if index >= 0 else FIRST_CONV
    return f"synthesis.b{8 << index}.torgb" if index >= 0 else FIRST_RGB


@lru_cache(maxsize=1)
def mean_of_w(mapping: nn.Module) -> Float[Tensor, " w"]:
    """The mean over draws of z that are always the same ones."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.standard_normal((MEAN_DRAWS, WIDTH), dtype=np.float32))
    with torch.inference_mode():
        w: Tensor = mapping(z.to(next(mapping.parameters()).device))
        return w.double().mean(dim=0).float()
