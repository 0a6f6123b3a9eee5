"""Generators: a file here each, an entry point of an installed package, or NAME:PATH."""

from __future__ import annotations

import sys
from pathlib import Path

from manifests.core.backends import load_backend
from pipeline.foreign.promises import check_latents
from pipeline.generators.base import Generator

GROUP = "facestill.generators"  # entry points of other packages


def load_generator(name: str, weights: Path) -> Generator:
    """The generator called `name`, with its weights from the folder `weights`; or NAME:PATH, one
    that lies in a file of its own."""
    module = sys.modules[__name__]
    generator: Generator = load_backend(module, "generator", name, weights, group=GROUP)
    if not type(generator).__module__.startswith(f"{__name__}."):  # of another package: tried
        check_latents(generator.render, generator.latent_width, f"generator {name}")
    return generator
