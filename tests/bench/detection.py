"""What the detector finds of the same generated pictures, and how fast, by size and threshold."""

from __future__ import annotations

import torch

from manifests.core import layout
from pipeline.arrays.align import find_faces, load_aligner
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.generators import load_generator
from pipeline.sample import prior
from pipeline.weights import CACHE, FILES, gather
from tests.bench.teacher import rate, spread

SETTINGS = ((192, 0.0), (112, 0.0), (112, -0.4))  # the trial's, half-way, the default
PICTURES = 256


def measure() -> dict[str, object]:
    """One process; landmarks included."""
    gather(FILES, CACHE, layout.WEIGHTS)
    generator = load_generator("dcgan-digiface", layout.WEIGHTS)
    latents = prior(PICTURES, generator.latent_width, "bench", seed=14)
    pictures = in_fixed_batches(generator.render, torch.from_numpy(latents))
    return {
        f"{size} px, threshold {threshold:g}": _setting(pictures, size, threshold)
        for size, threshold in SETTINGS
    }


def _setting(pictures: torch.Tensor, size: int, threshold: float) -> dict[str, object]:
    aligner = load_aligner(layout.WEIGHTS, threshold)
    found = find_faces(aligner, pictures, detect_size=size)
    share = sum(face is not None for face in found) / len(found)
    rates = rate(lambda: find_faces(aligner, pictures, detect_size=size), len(pictures))
    return {"share_found": share, "pictures_per_second": spread(rates)}
