"""Which faces of the pool become parents: from hard regions, under caps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from manifests.settings.params import Mine
from pipeline.mining.regions import Region


def draw_parents(
    home: Int[np.ndarray, " face"],
    hardness: Float[np.ndarray, " face"],
    regions: Sequence[Region],
    count: int,
    settings: Mine,
    rng: np.random.Generator,
) -> Int[np.ndarray, " child"]:
    """Rows of the pool, one a child, from the hard regions; `home` is a face's region.

    Of a region only the hardest `hard_share` of its faces. A region's share grows with their
    number and its shrunken gap, a face's share in it with its hardness. No face has more than
    `parent_cap` children and no region more than `region_cap` of `count`, so that there may be
    fewer than `count`.
    """
    hard = [region for region in regions if region.hard]
    rows = [hardest(np.flatnonzero(home == r.region), hardness, settings.hard_share) for r in hard]
    limits = [min(len(own) * settings.parent_cap, int(count * settings.region_cap)) for own in rows]
    weights = [max(r.shrunken_gap, 0.0) * len(own) for r, own in zip(hard, rows, strict=True)]
    shares = apportion(np.array(weights), limits, count)
    drawn = [
        own[_without_replacement(hardness[own], share, settings.parent_cap, rng)]
        for own, share in zip(rows, shares, strict=True)
    ]
    return np.concatenate([np.empty(0, np.int64), *drawn])


def hardest(
    rows: Int[np.ndarray, " own"], hardness: Float[np.ndarray, " face"], share: float
) -> Int[np.ndarray, " hardest"]:
    """That share of `rows`, at least one, that is hardest; ties go to the earlier row."""
    order = np.argsort(-hardness[rows], kind="stable")
    return rows[np.sort(order[: max(1, round(len(rows) * share))])]


def apportion(weights: Float[np.ndarray, " part"], limits: Sequence[int], total: int) -> list[int]:
    """Whole shares of `total` in proportion to `weights` (largest remainder, ties go to the
    earlier part), none above its limit; what a limited part cannot take goes to the others."""
    shares = np.zeros(len(weights), np.int64)
    room = np.array(limits, np.int64)
    while (left := total - int(shares.sum())) > 0:
        open_parts = np.flatnonzero((shares < room) & (weights > 0))
        if not len(open_parts):
            break
        exact = weights[open_parts] / weights[open_parts].sum() * left
        more = np.floor(exact).astype(np.int64)
        rest = np.argsort(np.round(more - exact, 9), kind="stable")[: left - int(more.sum())]
        more[rest] += 1
        shares[open_parts] = np.minimum(shares[open_parts] + more, room[open_parts])
    return shares.tolist()


def _without_replacement(
    weights: Float[np.ndarray, " face"], count: int, cap: int, rng: np.random.Generator
) -> Int[np.ndarray, " child"]:
    """Indices, each at most `cap` times, larger weights more often: the smallest exponential
    arrival times (Efraimidis and Spirakis 2006)."""
    rates = np.repeat(np.maximum(weights, 1e-9), cap)
    arrival = rng.exponential(1.0, len(rates)) / rates
    return np.argsort(arrival, kind="stable")[:count] // cap


def draw_mates(
    parents: Int[np.ndarray, " child"], home: Int[np.ndarray, " face"], rng: np.random.Generator
) -> Int[np.ndarray, " child"]:
    """For every parent another parent of its region, or itself where it is the only one."""
    mates = parents.copy()
    for region in np.unique(home[parents]):
        here = np.flatnonzero(home[parents] == region)
        distinct = np.unique(parents[here])
        if len(distinct) > 1:
            at = np.searchsorted(distinct, parents[here])
            step = rng.integers(1, len(distinct), len(here))
            mates[here] = distinct[(at + step) % len(distinct)]
    return mates
