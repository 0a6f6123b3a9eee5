"""A whole look at a pool of a million faces: regions, hardness, proposals with their guards."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace

import numpy as np

from manifests.records.gaps import GapTable
from manifests.settings.params import load_params
from manifests.stores.latents import Recipe, build
from pipeline.mine import Measured, mine

ROWS, PROBE_ROWS = 1_000_000, 50_000
REGIONS, WIDTH, LATENT_WIDTH = 1000, 128, 100
CENTRES, NOISE = 4000, 0.7  # of made-up embeddings: in heaps, as faces are
BLOCK = 1 << 16


def measure() -> dict[str, object]:
    """Seconds of `pipeline.mine.mine` on arrays that are there, and the peak of the process that
    also made them."""
    params = load_params()
    settings = replace(params.mine, regions=REGIONS, count=ROWS // 50, law="dynamic")
    pool, probe = made_up(ROWS, 1), made_up(PROBE_ROWS, 2)
    before = time.perf_counter()
    found = mine(pool, probe, replace(params, mine=settings))
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rows": ROWS,
        "regions": len(found.regions),
        "hard_regions": sum(region.hard for region in found.regions),
        "proposals": 0 if found.proposals is None else len(found.proposals.latents),
        "seconds_1m": round(seconds, 1),
        "peak_rss_bytes": peak * (1 if sys.platform == "darwin" else 1024),
    }


def made_up(rows: int, seed: int) -> Measured:
    """Unit embeddings about common centres, whose gaps differ from centre to centre."""
    rng = np.random.default_rng(seed)
    heaps = np.random.default_rng(0)
    centres = heaps.standard_normal((CENTRES, WIDTH), np.float32)
    level = heaps.uniform(0.2, 0.4, CENTRES)
    home = rng.integers(0, CENTRES, rows)
    embeddings = np.empty((rows, WIDTH), np.float32)
    for at in range(0, rows, BLOCK):
        own = centres[home[at : at + BLOCK]]
        part = own + NOISE * rng.standard_normal(own.shape, np.float32)
        embeddings[at : at + BLOCK] = part / np.linalg.norm(part, axis=1, keepdims=True)
    latents = rng.standard_normal((rows, LATENT_WIDTH), np.float32)
    manifest = build(
        Recipe("bench", "none", "", LATENT_WIDTH), latents, origin="prior", key=str(seed)
    )
    gap = np.clip(level[home] + 0.09 * rng.standard_normal(rows), 0, 2).astype(np.float32)
    zeros = np.zeros(rows, np.float32)
    table = GapTable(
        manifest.face_id, gap, gap, zeros, np.full(rows, -1, np.int32), zeros, "", ""
    )  # fmt: skip
    return Measured(manifest, np.arange(rows), embeddings, table)
