"""StyleGAN2 in a file, `stylegan2:PATH`: an official .pkl, safetensors, or rosinality's .pt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.generators.stylegan.backend import StyleGenerator
from pipeline.generators.stylegan.files import (
    Stored,
    fill,
    open_stored,
    parse_settings,
    read_declared,
)
from pipeline.generators.stylegan.resampling import binomial
from pipeline.generators.stylegan.rosinality import mean_of_w, read_checkpoint, resolution_of
from pipeline.generators.stylegan.style2 import SMALLEST, Style2Network, Style2Settings

FIXED: dict[str, tuple[Any, ...]] = {
    "c_dim": (0,),
    "img_channels": (3,),
    "architecture": ("skip",),
    "resample_filter": ([1, 3, 3, 1],),
    "use_noise": (True,),
    "activation": ("lrelu",),
    "mapping_activation": ("lrelu",),
}
MOST_Z = 1 << 13  # where the mean of w is that of draws of z, which are in memory at once
LAYER = re.compile(r"mapping\.fc\d\.weight")
# Of these, the widths of the mapping's layers are seen in its tensors.
UNHEEDED = frozenset(
    {
        "num_fp16_res", "use_fp16", "fp16_channels_last", "fused_modconv_default", "class_name",
        "mapping_embed_features", "mapping_layer_features", "mapping_w_avg_beta",
        "mapping_freeze_layers", "mapping_freeze_embed",
    }
)  # fmt: skip


def load_file(path: Path) -> StyleGenerator:
    if path.suffix in (".pt", ".pth"):
        return _of_rosinality(path)
    stored = open_stored(path)
    if "synthesis.input.freqs" in stored.tensors:
        raise InputError(f"{path}: a StyleGAN3; name it stylegan3:{path}")
    given = dict(stored.settings)
    if stored.network is not None:  # its default differs between the official releases
        first = stored.network.module.part(f"synthesis.b{SMALLEST}.conv1")
        given["conv_clamp"] = first.state.get("conv_clamp") if first else None
    settings = parse_settings(path, Style2Settings, given, fixed=FIXED, unheeded=UNHEEDED)
    network = fill(path, lambda: Style2Network(settings), _own(stored))
    frame = stored.declared.frame(settings.img_resolution)
    return StyleGenerator(
        stored.declared.name, network, stored.sha256, frame=frame, licence=stored.declared.licence
    )


def _of_rosinality(path: Path) -> StyleGenerator:
    declared, checkpoint = read_declared(path), read_checkpoint(path)
    if declared.settings:
        raise InputError(f"{path}.json: settings are for safetensors; here the tensors show them")
    settings, mean = settings_of(path, checkpoint.tensors), checkpoint.w_mean
    centre = {"mapping.w_avg": torch.zeros(settings.w_dim) if mean is None else mean}
    network = fill(path, lambda: Style2Network(settings), {**checkpoint.tensors, **centre})
    if mean is None:
        network.mapping.w_avg.copy_(mean_of_w(network.mapping, settings.z_dim))
    return StyleGenerator(
        declared.name,
        network,
        sha256_file(path),
        frame=declared.frame(settings.img_resolution),
        licence=declared.licence,
    )


def settings_of(path: Path, tensors: Mapping[str, torch.Tensor]) -> Style2Settings:
    """What the shapes of a checkpoint's tensors say, which says nothing else of itself."""
    if "mapping.id.fc0.weight" in tensors:
        raise InputError(f"{path}: a GAN-Control; name it gan-control:{path}")
    size = resolution_of(path, tensors)
    names = ("mapping.fc0.weight", f"synthesis.b{size}.torgb.weight", "synthesis.b4.const")
    missing = [name for name in names if name not in tensors or tensors[name].ndim < 2]
    if missing:
        raise InputError(f"{path}: g_ema: no layer that is {missing[0]} in NVIDIA's files")
    (w_dim, z_dim, *_), (_, channels, *_), (most, *_) = (tensors[name].shape for name in names)
    if not 0 < z_dim <= MOST_Z:
        raise InputError(f"{path}: g_ema: z of width {z_dim}, expected 1 to {MOST_Z}")
    seen = {
        "img_resolution": size,
        "z_dim": z_dim,
        "w_dim": w_dim,
        "channel_base": channels * size,
        "channel_max": most,
        "mapping_num_layers": sum(bool(LAYER.fullmatch(name)) for name in tensors),
    }
    return parse_settings(path, Style2Settings, seen, fixed={}, unheeded=frozenset())


def _own(stored: Stored) -> dict[str, torch.Tensor]:
    """Without the filters, which are the same everywhere. Raises InputError if one is not."""
    usual = torch.outer(binomial(), binomial())
    for name, value in stored.tensors.items():
        if name.endswith("resample_filter") and not torch.equal(value.float(), usual):
            raise InputError(f"{stored.path}: {name} is another filter than [1, 3, 3, 1]")
    return {
        name: value
        for name, value in stored.tensors.items()
        if not name.endswith("resample_filter")
    }
