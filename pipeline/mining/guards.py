"""Guards of a round: latents stay where the generator knows its way, no near-duplicates, and
the round as a whole does not collapse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from manifests.core.errors import InputError
from manifests.settings.params import Mine
from pipeline.arrays.neighbours import nearest

TAIL = 1e-3  # of the norms of standard normal latents, on either side
BLOCK_ROWS = 1 << 14
NEIGHBOURS = 8  # of a child, looked at for near-duplicates before all others are


def within_shell(latents: Float[np.ndarray, "face width"]) -> Float[np.ndarray, "face width"]:
    """Latents in z with norms outside the central 99.8 % of a standard normal's brought to its
    edge: a generator has seen none beyond it."""
    low, high = stats.chi.ppf([TAIL, 1.0 - TAIL], latents.shape[1])
    norms = np.linalg.norm(latents, axis=1, keepdims=True)
    return latents * (np.clip(norms, low, high) / np.maximum(norms, 1e-12))


def far_enough(
    children: Float[np.ndarray, "child width"],
    others: Float[np.ndarray, "other width"],
    least_distance: float,
    scale: Float[np.ndarray, " width"],
) -> Bool[np.ndarray, " child"]:
    """Which children are no near-duplicate of one of the others or of a child before them.

    Distances are in units of the mean distance of two independent latents of that `scale`.
    """
    known = ((np.concatenate([others, children]) - others.mean(axis=0)) / scale).astype(np.float32)
    limit = 2.0 * children.shape[1] * least_distance**2
    distances, rows = nearest(known, known[len(others) :], NEIGHBOURS)
    own = np.arange(len(others), len(known))
    close = distances < limit
    found = (close & (rows < own[:, None])).any(axis=1)
    for child in np.flatnonzero(close.all(axis=1) & ~found):  # later children may hide earlier ones
        to_earlier = ((known[: own[child]] - known[own[child]]) ** 2).sum(axis=1)
        found[child] = (to_earlier < limit).any()
    return ~found


def mean_and_variance(
    rows: Float[np.ndarray, "row width"],
) -> tuple[Float[np.ndarray, " width"], Float[np.ndarray, " width"]]:
    """Of each coordinate (ddof 1), summed in float64 without a float64 copy of all rows."""
    blocks = [rows[at : at + BLOCK_ROWS] for at in range(0, len(rows), BLOCK_ROWS)]
    mean = np.sum([block.sum(axis=0, dtype=np.float64) for block in blocks], axis=0) / len(rows)
    squares = [((block - mean) ** 2).sum(axis=0) for block in blocks]
    return mean, np.sum(squares, axis=0) / max(1, len(rows) - 1)


@dataclass(frozen=True)
class Drift:
    """How the mined rows of a round lie to the pool; independent draws have spread 1, shift 0."""

    spread: float  # root of the total variance, as a share of the pool's
    shift: float  # distance of the means, in units of the pool's spread
    effective_parents: float  # inverse Simpson index
    effective_regions: float


def measure_drift(
    latents: Float[np.ndarray, "child width"],
    pool: Float[np.ndarray, "face width"],
    parents: Int[np.ndarray, " child"],
    regions: Int[np.ndarray, " child"],
) -> Drift:
    """Of mined rows, with the pool rows of their parents and the regions of those; of fewer than
    two mined rows, which have no spread, that of the prior."""
    if len(latents) < 2:
        return Drift(1.0, 0.0, float(len(latents)), float(len(latents)))
    (centre, variance), (own_centre, own_variance) = map(mean_and_variance, (pool, latents))
    spread, own = np.sqrt(variance.sum()), np.sqrt(own_variance.sum())
    shift = np.linalg.norm(own_centre - centre)
    return Drift(
        float(own / spread), float(shift / spread), _effective(parents), _effective(regions)
    )


def check_not_collapsed(drift: Drift, settings: Mine) -> None:
    """Raises InputError for a round whose mined faces are too much alike."""
    if drift.spread < settings.least_spread:
        raise InputError(
            f"the round collapsed: its mined latents spread {drift.spread:.2f} times the pool's, "
            f"mine.least_spread asks for {settings.least_spread:g}; raise the law's step, "
            "mine.prior_share or sample.pool, or lower mine.parent_cap"
        )


def _effective(values: Int[np.ndarray, " row"]) -> float:
    """How many equally frequent values would be as varied (inverse Simpson index)."""
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return float(1.0 / (shares**2).sum())
