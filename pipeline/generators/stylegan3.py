"""StyleGAN3 in a file, `stylegan3:PATH`: an official .pkl, or safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.core.errors import InputError
from pipeline.generators.stylegan.backend import StyleGenerator
from pipeline.generators.stylegan.files import fill, open_stored, parse_settings
from pipeline.generators.stylegan.style3 import Style3Network, Style3Settings

FIXED: dict[str, tuple[Any, ...]] = {"c_dim": (0,), "img_channels": (3,)}
UNHEEDED = frozenset(
    {
        "num_fp16_res", "magnitude_ema_beta", "class_name", "mapping_w_avg_beta",
        "mapping_freeze_layers", "mapping_freeze_embed",
    }
)  # fmt: skip


def load_file(path: Path) -> StyleGenerator:
    stored = open_stored(path)
    if "synthesis.b4.const" in stored.tensors:
        raise InputError(f"{path}: a StyleGAN2; name it stylegan2:{path}")
    settings = parse_settings(path, Style3Settings, stored.settings, fixed=FIXED, unheeded=UNHEEDED)
    network = fill(path, lambda: Style3Network(settings), stored.tensors)
    frame = stored.declared.frame(settings.img_resolution)
    return StyleGenerator(
        stored.declared.name, network, stored.sha256, frame=frame, licence=stored.declared.licence
    )
