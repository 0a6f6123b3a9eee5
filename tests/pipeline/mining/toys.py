"""Settings, regions and pools that are small enough to work out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from manifests.records.gaps import GapTable
from manifests.settings.params import BoundaryParams, Mine, Params, Threshold
from manifests.stores.rounds import RoundFiles, open_round
from pipeline.mine import unit_embeddings
from pipeline.mining.proposals import Pool
from pipeline.mining.regions import Region

SETTINGS = Mine(
    regions=6, points_per_region=256, shrinkage=4.0, false_discovery_rate=0.1, hardness="gap",
    hard_share=0.5, law="dynamic", coefficient=1.0, near_step=0.3, walk_step=2.0, count=40,
    prior_share=0.25, region_cap=1.0, parent_cap=8, least_distance=0.05, least_spread=0.7,
    least_gain=0.0, seed=5,
)  # fmt: skip
BOUNDARIES = BoundaryParams(
    solver="ridge", threshold=Threshold("median", 0.5), references=8, neighbours=64, most_alike=1.0,
    penalty=0.01, held_out=0.3, min_accuracy=0.6,
    seed=3,
)  # fmt: skip


def region(number: int, gap: float, *, faces: int = 50, hard: bool = False) -> Region:
    return Region(number, faces, gap, gap, (gap - 0.02, gap + 0.02), 0.001 if hard else 0.5, hard)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pool(count: int = 400, width: int = 20, *, regions: int = 6, space: str = "z") -> Pool:
    """Latents of a standard normal, whose first coordinates are what the teacher sees."""
    rng = np.random.default_rng(count)
    latents = rng.standard_normal((count, width)).astype(np.float32)
    gap = rng.uniform(0.1, 0.6, count)
    return Pool(
        latents=latents if space == "z" else latents * np.float32(0.01) + np.float32(3.0),
        embeddings=unit(latents[:, :8]),
        gap=gap,
        hardness=gap,
        home=(np.arange(count) % regions).astype(np.int32),
        space=space,
    )


def gap_table(count: int, seed: int = 0, **columns: Any) -> GapTable:
    rng = np.random.default_rng(seed)
    given = {
        "face_id": np.arange(count, dtype=np.int64) + (7 << 40),
        "gap": rng.uniform(0.1, 0.6, count).astype(np.float32),
        "flip_gap": rng.uniform(0.1, 0.6, count).astype(np.float32),
        "impostor_margin": rng.uniform(-0.5, 0.5, count).astype(np.float32),
        "region": np.full(count, -1, np.int32),
        "neighbour_disagreement": rng.random(count).astype(np.float32),
        "student_digest": "ab" * 32,
        "teacher_root": "cd" * 32,
    }
    return GapTable(**(given | columns))


STUDENT = "ab" * 32
SMALL = replace(SETTINGS, regions=3, least_spread=0.0)


def hard_gaps(name: str, params: Params) -> GapTable:
    """A student that fails more the farther a face lies along one direction."""
    files = open_round(name, params.teacher)
    rows = np.flatnonzero(files.faces.ok())
    centre = open_round("pool", params.teacher).teacher.centre()
    units = unit_embeddings(files, rows, centre)
    pool = unit_embeddings(*whole_pool(params), centre)
    axis = np.linalg.svd(pool, full_matrices=False)[2][0]
    noise = np.random.default_rng(len(rows)).normal(0, 0.01, len(rows))
    gap = (0.5 + 0.3 * (units @ axis + noise)).clip(0, 2).astype(np.float32)
    ids = files.require_manifest().face_id[rows]
    home = np.full(len(ids), -1, np.int32)
    return GapTable(ids, gap, gap, -gap, home, gap.clip(0, 1), STUDENT, files.teacher.root)


def whole_pool(params: Params) -> tuple[RoundFiles, np.ndarray]:
    files = open_round("pool", params.teacher)
    return files, np.flatnonzero(files.faces.ok())
