"""Slow, obvious twins of mining."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import stats


def apportion(weights: Sequence[float], limits: Sequence[int], total: int) -> list[int]:
    """Largest remainder by fractions; what a full part cannot take is shared out again."""
    shares = [0] * len(weights)
    while sum(shares) < total:
        open_parts = [i for i, w in enumerate(weights) if w > 0 and shares[i] < limits[i]]
        if not open_parts:
            break
        left, whole = total - sum(shares), sum(Fraction(weights[i]) for i in open_parts)
        exact = {i: Fraction(weights[i]) / whole * left for i in open_parts}
        more = {i: int(exact[i]) for i in open_parts}
        by_remainder = sorted(open_parts, key=lambda i: more[i] - exact[i])
        for i in by_remainder[: left - sum(more.values())]:
            more[i] += 1
        for i in open_parts:
            shares[i] = min(shares[i] + more[i], limits[i])
    return shares


def jitter(
    latents: np.ndarray, step: np.ndarray, scale: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """z' = (z + step * eps) / sqrt(1 + step^2), w' = w + step * eps * scale; the same eps."""
    children = []
    for latent, s in zip(latents, step, strict=True):
        eps = rng.standard_normal(len(latent))
        moved = (
            (latent + s * eps) / np.sqrt(1 + s * s) if scale is None else latent + s * eps * scale
        )
        children.append(moved)
    return np.array(children)


def angle(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def regions(
    gap: np.ndarray, region: np.ndarray, count: int, shrinkage: float
) -> tuple[list[float], list[float], list[float]]:
    """(mean gaps, shrunken gaps, halves of their 95 % intervals)."""
    overall = sum(gap) / len(gap)
    spread = np.std(gap, ddof=1) if len(gap) > 1 else 0.0
    means, shrunken, halves = [], [], []
    for number in range(count):
        mine = [g for g, r in zip(gap, region, strict=True) if r == number]
        means.append(sum(mine) / len(mine) if mine else overall)
        believed = list(mine) + [overall] * int(shrinkage)  # as if so many faces more had it
        shrunken.append(sum(believed) / len(believed) if believed else overall)
        halves.append(1.96 * spread / np.sqrt(max(len(believed), 1)))
    return means, shrunken, halves


def welch_p_value(ours: np.ndarray, others: np.ndarray) -> float:
    """Chance of a larger t where both means are equal (Welch 1947), by the textbook."""
    parts = [np.var(group, ddof=1) / len(group) for group in (ours, others)]
    t = (np.mean(ours) - np.mean(others)) / np.sqrt(sum(parts))
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (ours, others), strict=True)
    )
    return float(stats.t.sf(t, degrees))


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """All hypotheses up to the last one, by p-value, that is at most its share of `rate`."""
    ranked = sorted(p_values)
    passed = [p for k, p in enumerate(ranked, 1) if p <= rate * k / len(ranked)]
    return [bool(passed) and p <= max(passed) for p in p_values]


def far_enough(
    children: np.ndarray, pool: np.ndarray, least: float, scale: np.ndarray
) -> list[bool]:
    """A child against every pool latent and every earlier child."""
    known, kept = [latent / scale for latent in pool], []
    unit = np.sqrt(2 * pool.shape[1])
    for child in children / scale:
        kept.append(all(np.linalg.norm(child - other) / unit >= least for other in known))
        known.append(child)
    return kept


def nearest(base: np.ndarray, query: np.ndarray, count: int) -> list[int]:
    distances = [((row - query) ** 2).sum() for row in base]
    return sorted(range(len(base)), key=lambda row: (distances[row], row))[:count]


def disagreement(left: np.ndarray, right: np.ndarray, count: int) -> list[float]:
    """Share of the neighbours by `left` that are none by `right`, face by face."""
    count, shares = min(count, len(left) - 1), []
    for row in range(len(left)):
        others = [at for at in range(len(left)) if at != row]
        mine, theirs = (
            {others[at] for at in nearest(rows[others], rows[row], count)} for rows in (left, right)
        )
        shares.append(len(mine - theirs) / count)
    return shares
