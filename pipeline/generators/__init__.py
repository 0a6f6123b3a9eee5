"""Generators, one file a backend, found by name."""

from __future__ import annotations

import sys
from pathlib import Path

from manifests.backends import find_backend
from pipeline.generators.base import Generator


def load_generator(name: str, weights: Path) -> Generator:
    """The generator called `name`, with its weights from the folder `weights`."""
    generator: Generator = find_backend(sys.modules[__name__], "generator", name).load(weights)
    return generator
