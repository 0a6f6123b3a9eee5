"""How far two histograms lie apart, and how well that is known. Counts in, nats out.

The last axis of a histogram is its bins: below the first edge, the declared bins, beyond the last
edge. Faces of one person are drawn together, so that ten photographs of somebody do not
count as ten people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SMOOTHING = 0.5  # faces added to every bin (Jeffreys): a bin that nobody is in is rare, not barred
QUANTILES = (0.025, 0.975)
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def bin_of(values: Float[np.ndarray, " face"], edges: Sequence[float]) -> Int[np.ndarray, " face"]:
    """0 below the first edge, i in [edges[i - 1], edges[i]), len(edges) beyond the last one, -1
    for NaN. The last edge itself is in the bin below it, as in numpy.histogram."""
    bounds = np.asarray(edges, np.float32)
    found = np.searchsorted(bounds, values, side="right") - (values == bounds[-1])
    return np.where(np.isnan(values), -1, found)


def histogram(
    values: Float[np.ndarray, " face"], edges: Sequence[float]
) -> Int[np.ndarray, " bin"]:
    """Counts of the len(edges) + 1 bins; NaN counts nowhere."""
    bins = bin_of(values, edges)
    return np.bincount(bins[bins >= 0], minlength=len(edges) + 1)


def smoothed(counts: Int[np.ndarray, "*sets bin"]) -> Float[np.ndarray, "*sets bin"]:
    """Shares of the bins after SMOOTHING faces were added to each."""
    raised = counts + SMOOTHING
    return raised / raised.sum(axis=-1, keepdims=True)


def kl_divergence(
    p: Float[np.ndarray, "*sets bin"], q: Float[np.ndarray, "*sets bin"]
) -> Float[np.ndarray, "*sets"]:
    """D(p || q) = sum p ln(p / q): how badly q explains what is drawn from p."""
    return np.asarray((p * np.log(p / q)).sum(axis=-1))


def js_divergence(
    p: Float[np.ndarray, "*sets bin"], q: Float[np.ndarray, "*sets bin"]
) -> Float[np.ndarray, "*sets"]:
    """Jensen-Shannon: the mean divergence to their mixture, 0 to ln 2, the same both ways."""
    middle = (p + q) / 2
    return np.asarray((kl_divergence(p, middle) + kl_divergence(q, middle)) / 2)


@dataclass(frozen=True)
class Sample:
    """The people of a set by how their faces fall into bins: `times[i]` of them like `kinds[i]`."""

    kinds: Int[np.ndarray, "kind bin"]
    times: Int[np.ndarray, " kind"]

    @property
    def counts(self) -> Int[np.ndarray, " bin"]:
        return self.times @ self.kinds

    @property
    def num_people(self) -> int:
        return int(self.times.sum())


def sample_of(
    bins: Int[np.ndarray, " face"], person: Int[np.ndarray, " face"], num_bins: int
) -> Sample:
    """Faces by bin (-1: undefined, left out) and by the number of the person whose they are."""
    kept = bins >= 0
    _, index, faces = np.unique(person[kept], return_inverse=True, return_counts=True)
    alone = faces[index] == 1  # most people of synthetic sets: their kinds are the bins
    _, others = np.unique(index[~alone], return_inverse=True)
    counts = np.zeros((int(others.max(initial=-1)) + 1, num_bins), np.int64)
    np.add.at(counts, (others, bins[kept][~alone]), 1)
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    singles = np.bincount(bins[kept][alone], minlength=num_bins)
    every = np.concatenate([np.eye(num_bins, dtype=np.int64), kinds])
    return Sample(every, np.concatenate([singles, times]))


def numbered(subject: Sequence[str]) -> Int[np.ndarray, " face"]:
    """A number for each person; who is not known ("") is a person of its own each time."""
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(name or f"\0{row}", row) for row, name in enumerate(subject)], np.int64
    )


def resample(sample: Sample, num: int, rng: np.random.Generator) -> Int[np.ndarray, "num bin"]:
    """Bootstrap histograms: as many people as there are, drawn with replacement. People who are
    alike are one category of a multinomial draw, which is the same and costs next to nothing."""
    total = sample.num_people
    return rng.multinomial(total, sample.times / total, size=num) @ sample.kinds


def split(
    sample: Sample, num_people: int, num: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "num bin"], Int[np.ndarray, "num bin"]]:
    """Histograms of that many random people of a set, and of the others."""
    drawn = rng.multivariate_hypergeometric(sample.times, num_people, size=num)
    return drawn @ sample.kinds, (sample.times - drawn) @ sample.kinds


@dataclass(frozen=True)
class Estimate:
    """A divergence, what its own resampling adds to it, and what it is when nothing differs."""

    value: float
    bias: float  # of `value`, by the bootstrap: finite samples differ more than what they are of
    ci95: tuple[float, float]
    null_first: float  # 95 % of random halves of the first set lie closer to each other
    null_second: float  # the same for as many of the second set as the first has, and the rest


def estimate(
    measure: Measure, first: Sample, second: Sample, *, num: int, rng: np.random.Generator
) -> Estimate:
    """measure(first, second) with a basic (reversed percentile) bootstrap interval, which takes
    the bias out of both ends, cut at 0 (Davison and Hinkley 1997, eq. 5.6)."""
    value = float(measure(smoothed(first.counts), smoothed(second.counts)))
    draws = measure(smoothed(resample(first, num, rng)), smoothed(resample(second, num, rng)))
    low, high = (max(0.0, 2 * value - float(q)) for q in np.quantile(draws, QUANTILES[::-1]))
    share = min(0.5, first.counts.sum() / max(1, second.counts.sum()))
    return Estimate(
        value,
        float(draws.mean()) - value,
        (low, high),
        null(measure, first, 0.5, num=num // 4, rng=rng),
        null(measure, second, float(share), num=num // 4, rng=rng),
    )


def null(
    measure: Measure, sample: Sample, share: float, *, num: int, rng: np.random.Generator
) -> float:
    """The 95 % quantile of the measure between a share of one set's people and the others:
    what finite samples of one distribution give."""
    some = min(max(1, round(share * sample.num_people)), sample.num_people - 1)
    one, other = split(sample, some, num, rng)
    return float(np.quantile(measure(smoothed(one), smoothed(other)), 0.95))
