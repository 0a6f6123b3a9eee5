"""Settings, a teacher and normals that laws and rounds of identities are tried on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manifests.settings.params import Identities
from pipeline.arrays.neighbours import unit_rows
from pipeline.sample import prior

WIDTH, EMBEDDING = 100, 16
SETTINGS = Identities(
    law="exfacegan-uniform", per_side=3, strength=8.0, jitter=0.6, protection=2.0,
    decorrelation=1.0, restore_norm=True, seed=4,
)  # fmt: skip
EVEN = replace(SETTINGS, law="even", strength=1.3)


def unit_priors(count: int) -> np.ndarray:
    return unit_rows(prior(count, WIDTH, "pool", seed=9))


def teacher_response() -> np.ndarray:
    """Of a teacher that sees the first coordinates best, and the last not at all."""
    matrix = np.random.default_rng(2).standard_normal((WIDTH, EMBEDDING))
    return matrix * np.maximum(0.0, np.linspace(1.0, -0.2, WIDTH))[:, None]
