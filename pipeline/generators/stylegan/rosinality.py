"""Checkpoints in the layout of rosinality's StyleGAN2, and of what descends from it.

Read are the tensors of `g_ema`, and `latent_avg`, the mean of w that converted files hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifests.core.errors import InputError
from pipeline.foreign.torch_files import UnreadableFile, fault_of, read_torch_file
from pipeline.generators.stylegan.files import LARGEST, MOST_PIXELS
from pipeline.generators.stylegan.pickled import MOST_BYTES
from pipeline.generators.stylegan.resampling import binomial

MEAN_DRAWS = 16384  # of z, for the mean of w where a file does not hold it
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


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of `g_ema` under the official names, and the mean of w where it is kept."""

    tensors: Mapping[str, Tensor]
    w_mean: Tensor | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises InputError for a file that holds anything but tensors and plain values, or whose
    `g_ema` is no StyleGAN2 in this layout."""
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES} bytes")
    try:
        found = read_torch_file(path)
    except UnreadableFile as error:
        raise InputError(
            f"{path}: not a checkpoint of tensors ({error}); where you trust it, save "
            "{'g_ema': checkpoint['g_ema']} alone (docs/GENERATORS.md)"
        ) from None
    weights = found.get("g_ema") if isinstance(found, dict) else None
    if not isinstance(weights, dict):
        raise InputError(f"{path}: no g_ema in it; expected a checkpoint of rosinality's StyleGAN2")
    for name, value in weights.items():
        if type(name) is not str or not isinstance(value, Tensor):
            raise InputError(f"{path}: g_ema: {str(name)[:80]} is no tensor")
        if fault := fault_of(value):
            raise InputError(f"{path}: g_ema: {name[:80]} is {fault}, expected numbers in order")
    return Checkpoint(official_names(path, weights), _mean(path, found.get("latent_avg")))


def _mean(path: Path, value: Any) -> Tensor | None:
    if value is None:
        return None
    if not isinstance(value, Tensor) or fault_of(value) or value.numel() > LARGEST:
        raise InputError(f"{path}: latent_avg is no plain tensor")
    return value.flatten()


def resolution_of(path: Path, tensors: Mapping[str, Tensor]) -> int:
    """Pixels of the last block. Raises InputError above MOST_PIXELS."""
    blocks = (re.match(r"synthesis\.b(\d+)\.", name) for name in tensors)
    found = max((int(block.group(1)) for block in blocks if block), default=4)
    if found > MOST_PIXELS:
        raise InputError(f"{path}: {found} pixels, at most {MOST_PIXELS}")
    return found


def official_names(path: Path, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """rosinality's names as those of the official StyleGAN2."""
    tensors = {}
    for full, value in given.items():
        name = full.removeprefix("module.")
        if FILTERS.fullmatch(name):
            _require_usual_filter(path, name, value)
            continue
        official = _official_name(name)
        if official is None:
            raise InputError(f"{path}: g_ema: {name[:80]} is of no known layer")
        if official in tensors:
            raise InputError(f"{path}: g_ema: {full[:80]} is there twice")
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
    if found := re.fullmatch(r"style\.([a-z]+\.)?([1-9])\.(weight|bias)", name):
        return f"mapping.{found[1] or ''}fc{int(found[2]) - 1}.{found[3]}"
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
def mean_of_w(mapping: nn.Module, width: int) -> Float[Tensor, " w"]:
    """The mean over draws of z that are always the same ones."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.standard_normal((MEAN_DRAWS, width), dtype=np.float32))
    with torch.inference_mode():
        w: Tensor = mapping(z.to(next(mapping.parameters()).device))
        return w.double().mean(dim=0).float()
