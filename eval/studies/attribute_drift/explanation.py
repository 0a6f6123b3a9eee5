"""Do real faces explain synthetic ones, and not the reverse?

Neto et al. (FG 2024) found that real samples suffice to explain the distribution of synthetic
ones, while the reverse fails. In divergences: D(synthetic || real) is small, for all that synthetic
faces are there are real ones; D(real || synthetic) is large. Which way the paper took is not
stated in it; both are given here, and their difference is tested.

A histogram of few faces explains worse than one of many, whatever they show, so that both sets
are drawn down to as many faces as the smaller one has. Each draw takes the same people for all
attributes, so that their sum has an interval too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from eval.attributes.divergence import QUANTILES, kl_divergence, smoothed

NUM_DRAWS = 1000
REAL, SYNTHETIC, NEITHER = "real explains synthetic", "synthetic explains real", "not shown"


@dataclass(frozen=True)
class Coded:
    """Faces by the bin that they fall into, attribute by attribute."""

    bins: Int[np.ndarray, "face attribute"]  # -1: undefined
    person: Int[np.ndarray, " face"]
    num_bins: tuple[int, ...]

    @cached_property
    def people(self) -> tuple[Int[np.ndarray, " face"], Int[np.ndarray, "2 person"]]:
        """Faces in the order of their people; where each person's begin, and how many they are."""
        order = np.argsort(self.person, kind="stable")
        _, starts, lengths = np.unique(self.person[order], return_index=True, return_counts=True)
        return order, np.stack([starts, lengths])

    @cached_property
    def places(self) -> Int[np.ndarray, "face attribute"]:
        """Of each bin in all attributes' histograms side by side; the last place is of none."""
        starts = np.cumsum([0, *self.num_bins[:-1]])
        return np.where(self.bins < 0, sum(self.num_bins), self.bins + starts)

    def faces_of(self, chosen: Int[np.ndarray, " drawn"]) -> Int[np.ndarray, " face"]:
        """All faces of these people, as often as they are named."""
        order, where = self.people
        starts, lengths = where[:, chosen]
        before = np.cumsum(lengths) - lengths  # faces of the people named earlier
        return order[np.arange(lengths.sum()) + np.repeat(starts - before, lengths)]

    def draws(
        self, num_faces: int, num: int, rng: np.random.Generator, *, again: bool
    ) -> list[Int[np.ndarray, "draw bin"]]:
        """Histograms, attribute by attribute, of random people with all their faces, as many as
        have about `num_faces` between them; `again`: drawn with replacement, as the bootstrap
        draws."""
        total, bins = len(self.people[1].T), sum(self.num_bins)
        count = max(1, round(num_faces * total / max(1, len(self.person))))
        counts = np.empty((num, bins), np.int64)
        for row in counts:
            faces = self.faces_of(rng.choice(total, count, replace=again))
            row[:] = np.bincount(self.places[faces].ravel(), minlength=bins + 1)[:-1]
        return np.split(counts, np.cumsum(self.num_bins)[:-1], axis=1)


@dataclass(frozen=True)
class Explanation:
    """How much worse synthetic faces explain real ones than real ones explain them, in nats."""

    synthetic_by_real: float  # D(synthetic || real), a mean over draws of equally many faces
    real_by_synthetic: float  # D(real || synthetic)
    difference: float  # the second less the first
    ci95: tuple[float, float]  # of it, over people

    @property
    def verdict(self) -> str:
        low, high = self.ci95
        return REAL if low > 0 else SYNTHETIC if high < 0 else NEITHER


def explain(
    real: Coded, synthetic: Coded, *, num: int, rng: np.random.Generator
) -> tuple[list[Explanation], Explanation, int]:
    """An explanation for each attribute, one for their sum, and the number of faces that both
    sets were drawn down to."""
    if real.num_bins != synthetic.num_bins:
        raise ValueError("histograms of unlike bins")
    num_faces = min(len(real.person), len(synthetic.person))

    def both_ways(again: bool) -> Float[np.ndarray, "draw attribute 2"]:
        sets = (own.draws(num_faces, num, rng, again=again) for own in (real, synthetic))
        return np.stack([_ways(*pair) for pair in zip(*sets, strict=True)], axis=1)

    found, redrawn = both_ways(False), both_ways(True)
    each = [_explanation(found[:, at], redrawn[:, at]) for at in range(len(real.num_bins))]
    return each, _explanation(found.sum(axis=1), redrawn.sum(axis=1)), num_faces


def _ways(
    real: Int[np.ndarray, "draw bin"], synthetic: Int[np.ndarray, "draw bin"]
) -> Float[np.ndarray, "draw 2"]:
    p, q = smoothed(real), smoothed(synthetic)
    return np.stack([kl_divergence(q, p), kl_divergence(p, q)], axis=1)


def _explanation(
    found: Float[np.ndarray, "draw 2"], redrawn: Float[np.ndarray, "draw 2"]
) -> Explanation:
    """With a percentile interval, moved by what drawing again adds on average. (A reversed one
    covers no better, and its long end lies on the wrong side: it misses half of what is there.)"""
    by_real, by_synthetic = map(float, found.mean(axis=0))
    difference = by_synthetic - by_real
    drawn = redrawn[:, 1] - redrawn[:, 0]
    low, high = map(float, np.quantile(drawn, QUANTILES) + (difference - drawn.mean()))
    return Explanation(by_real, by_synthetic, difference, (low, high))


def coded(
    columns: Sequence[Int[np.ndarray, " face"]],
    num_bins: Sequence[int],
    person: Int[np.ndarray, " face"],
) -> Coded:
    """Faces of which no attribute is defined are nobody's."""
    bins = np.stack(columns, axis=1)
    known = (bins >= 0).any(axis=1)
    return Coded(bins[known], person[known], tuple(num_bins))
