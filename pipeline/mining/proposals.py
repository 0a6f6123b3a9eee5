"""Proposals: from a pool with gaps to the latents and lineage of a round. Arrays only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from manifests.core.errors import InputError
from manifests.settings.params import BoundaryParams, Mine
from pipeline.arrays.neighbours import unit_rows
from pipeline.identities.labels import Split, label_blocks
from pipeline.identities.planes import ridge
from pipeline.mining.guards import (
    Drift,
    check_not_collapsed,
    far_enough,
    mean_and_variance,
    measure_drift,
    within_shell,
)
from pipeline.mining.mining_laws import (
    AS_PUBLISHED,
    LAWS,
    PRIOR,
    Children,
    Parents,
    dynamic_as_published,
)
from pipeline.mining.parents import draw_mates, draw_parents
from pipeline.mining.regions import Region

PARENTS, MATES, STEPS, FRESH, ORDER = range(5)  # what a random stream is for, beside its seed
PriorDraw = Callable[[np.random.Generator, int], np.ndarray]  # that many latents of the prior


@dataclass(frozen=True)
class Pool:
    """The usable faces that parents are drawn from."""

    latents: Float[np.ndarray, "face width"]
    embeddings: Float[np.ndarray, "face embedding"]  # unit, centred
    gap: Float[np.ndarray, " face"]  # mean of both views, 0..2
    hardness: Float[np.ndarray, " face"]  # by the chosen measure
    home: Int[np.ndarray, " face"]  # region
    space: str
    draw: PriorDraw | None = None  # None: standard normal in z, unknown elsewhere

    @property
    def has_prior(self) -> bool:
        return self.draw is not None or self.space == "z"

    @property
    def scale(self) -> Float[np.ndarray, " width"]:
        """The latents' standard deviation by coordinate."""
        return np.maximum(np.sqrt(mean_and_variance(self.latents)[1]), 1e-9)


@dataclass(frozen=True)
class Proposals:
    """Rows of a round, in their final order; parent is a row of the pool, -1 for the prior."""

    latents: Float[np.ndarray, "row width"]
    parent: Int[np.ndarray, " row"]
    step: Float[np.ndarray, " row"]
    drift: Drift
    num_rejected: int  # near-duplicates, whose places prior faces took

    @property
    def mined(self) -> Bool[np.ndarray, " row"]:
        return self.parent >= 0


def propose(
    pool: Pool, regions: Sequence[Region], settings: Mine, boundaries: BoundaryParams
) -> Proposals:
    """`settings.count` latents: children of hard faces by the law, and a share of the prior's.

    What caps and near-duplicates leave free is filled from the prior; it stays empty in w and
    w+ of a generator that cannot be drawn from. Raises InputError where prior faces are asked
    for there, and for a round that collapsed.
    """
    if settings.law == AS_PUBLISHED:
        return _one_of_each(pool, settings)
    if not pool.has_prior and (settings.prior_share > 0 or settings.law == PRIOR):
        raise InputError(
            f"prior faces in {pool.space} need a mapping; set mine.prior_share to 0 and mine.law "
            f"to one of {', '.join(LAWS)}"
        )
    children, parents, num_rejected = _children(pool, regions, settings, boundaries)
    drift = measure_drift(children.latents, pool.latents, parents, pool.home[parents])
    check_not_collapsed(drift, settings)
    fresh = _fresh(pool, settings.count - len(parents), _stream(settings, FRESH))
    latents = np.concatenate([children.latents, fresh]).astype(np.float32)
    parent = np.concatenate([parents, np.full(len(fresh), -1)])
    step = np.concatenate([children.step, np.full(len(fresh), np.nan)]).astype(np.float32)
    order = _stream(settings, ORDER).permutation(len(latents))
    return Proposals(latents[order], parent[order], step[order], drift, num_rejected)


def _one_of_each(pool: Pool, settings: Mine) -> Proposals:
    """A child of every face, unguarded: the loop's second step, for a pool that is stored."""
    rng = _stream(settings, STEPS)
    found = dynamic_as_published(pool.latents, 1.0 - pool.gap, settings.coefficient, rng)
    parents = np.arange(len(pool.latents))
    drift = measure_drift(found.latents, pool.latents, parents, pool.home)
    order = _stream(settings, ORDER).permutation(len(parents))
    latents, step = found.latents.astype(np.float32), found.step.astype(np.float32)
    return Proposals(latents[order], parents[order], step[order], drift, 0)


def _fresh(pool: Pool, count: int, rng: np.random.Generator) -> Float[np.ndarray, "face width"]:
    if pool.draw is not None:
        return pool.draw(rng, count)
    return rng.standard_normal((count if pool.has_prior else 0, pool.latents.shape[1]))


def _children(
    pool: Pool, regions: Sequence[Region], settings: Mine, boundaries: BoundaryParams
) -> tuple[Children, Int[np.ndarray, " child"], int]:
    """Children that pass the guards, their parents' rows, and how many did not pass."""
    num_mined = round(settings.count * (1.0 - settings.prior_share))
    if settings.law == PRIOR:
        num_mined = 0
    rng = _stream(settings, PARENTS)
    rows = draw_parents(pool.home, pool.hardness, regions, num_mined, settings, rng)
    if not len(rows):
        return Children(pool.latents[:0].astype(np.float64), np.empty(0)), rows, 0
    parents = _parents(pool, rows, settings, boundaries)
    children = LAWS[settings.law](parents, _stream(settings, STEPS), settings)
    latents = within_shell(children.latents) if parents.gaussian else children.latents
    known = np.unique(np.concatenate([parents.latents, parents.mates]), axis=0)
    keep = far_enough(latents, known, settings.least_distance, parents.scale)
    return Children(latents[keep], children.step[keep]), rows[keep], int((~keep).sum())


def _parents(
    pool: Pool, rows: Int[np.ndarray, " child"], settings: Mine, boundaries: BoundaryParams
) -> Parents:
    normals = np.zeros((len(rows), pool.latents.shape[1]))
    if settings.law == "boundary-walk":
        normals = own_normals(pool.latents, pool.embeddings, rows, boundaries)
    return Parents(
        latents=pool.latents[rows].astype(np.float64),
        gap=pool.gap[rows].astype(np.float64),
        mates=pool.latents[draw_mates(rows, pool.home, _stream(settings, MATES))].astype(float),
        normals=normals,
        scale=pool.scale,
        gaussian=pool.space == "z",
    )


def own_normals(
    latents: Float[np.ndarray, "face width"],
    embeddings: Float[np.ndarray, "face embedding"],
    rows: Int[np.ndarray, " child"],
    settings: BoundaryParams,
) -> Float[np.ndarray, "child width"]:
    """Unit normals of the identity boundaries of faces `rows`, towards faces unlike them; the
    whole pool are their neighbours (`pipeline.boundaries`, solver `ridge`). Zero where none of
    the pool is unlike a face, or none like it."""
    distinct, back = np.unique(rows, return_inverse=True)
    everyone = np.arange(len(latents))
    solve = ridge(latents, everyone, np.ones(latents.shape[1]), settings)
    split = Split(distinct, everyone, everyone[:0])
    blocks = label_blocks(embeddings, split, settings.threshold)
    weights = np.concatenate([solve(labels).weights for _, labels, _ in blocks])[back]
    return unit_rows(weights)


def _stream(settings: Mine, purpose: int) -> np.random.Generator:
    return np.random.default_rng((settings.seed, purpose))
