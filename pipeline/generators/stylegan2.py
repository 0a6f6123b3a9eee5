"""StyleGAN2 in a file, `stylegan2:PATH`: an official .pkl, or safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from manifests.core.errors import InputError
from pipeline.generators.stylegan.backend import StyleGenerator
from pipeline.generators.stylegan.files import Stored, fill, open_stored, parse_settings
from pipeline.generators.stylegan.resampling import binomial
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
# Of these, the widths of the mapping's layers are seen in its tensors.
UNHEEDED = frozenset(
    {
        "num_fp16_res", "use_fp16", "fp16_channels_last", "fused_modconv_default", "class_name",
        "mapping_embed_features", "mapping_layer_features", "mapping_w_avg_beta",
        "mapping_freeze_layers", "mapping_freeze_embed",
    }
)  # fmt: skip


def load_file(path: Path) -> StyleGenerator:
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
