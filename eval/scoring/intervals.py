"""Whose faces pairs compare; intervals and tests of figures over pairs that share people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest, norm, t

from manifests.photographs.columns import together
from manifests.photographs.scores import subject_of

Z95 = 1.959963984540054
RESAMPLES = 1000
NOISE_SHARE = 2  # the variance of pair noise is estimated with half as many resamples
MOST_WEIGHTS = 200_000_000  # drawn in all: from 200,000 pairs on there are fewer resamples, …
FEWEST = 200  # … but no fewer than these
IDENTITIES, PAIRS = 0, 1  # what a stream of random numbers is for

Statistic = Callable[[Float[np.ndarray, " pair"]], Float[np.ndarray, " figure"]]


@dataclass(frozen=True)
class PairSubjects:
    """The subjects of each pair's two images, numbered from 0."""

    left: Int[np.ndarray, " pair"]
    right: Int[np.ndarray, " pair"]
    count: int

    def only(self, rows: Bool[np.ndarray, " pair"]) -> PairSubjects:
        """Of some of the pairs; subjects keep their numbers."""
        return PairSubjects(self.left[rows], self.right[rows], self.count)

    def weights(self, multiplicity: Int[np.ndarray, " subject"]) -> Float[np.ndarray, " pair"]:
        """How often each pair occurs where subject s occurs `multiplicity[s]` times.

        Of two subjects every copy of one meets every copy of the other; a copy of a subject is
        compared with itself, never with another copy (which would be a different person).
        """
        drawn = multiplicity.astype(np.float64)
        left = drawn[self.left]
        return left * np.where(self.left == self.right, 1.0, drawn[self.right])


def pair_subjects(
    left: Sequence[str], right: Sequence[str], same: Bool[np.ndarray, " pair"], rule: str
) -> PairSubjects:
    """The subjects of pairs of images by a rule of manifests.photographs.scores.

    A genuine pair says that its two images show one person, so that their subjects are one even
    where the rule can not tell (rule `image`: a person is what genuine pairs join).
    Raises InputError for an unknown rule.
    """
    names, *rows = together(left, right)
    people = np.array([subject_of(name, rule) for name in names], dtype=object)
    of_name = np.unique(people, return_inverse=True)[1].reshape(-1)
    first, second = (of_name[side] for side in rows)
    size = int(of_name.max(initial=-1)) + 1
    links = coo_array((np.ones(int(same.sum())), (first[same], second[same])), shape=(size, size))
    count, of_person = connected_components(links, directed=False)
    return PairSubjects(of_person[first], of_person[second], int(count))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion of independent trials (Wilson 1927)."""
    if not trials:
        return 0.0, 1.0
    p, z2 = successes / trials, Z95**2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * np.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


@dataclass(frozen=True)
class Resampled:
    """Figures of the pairs as they are, and of resampled ones."""

    point: Float[np.ndarray, " figure"]
    draws: Float[np.ndarray, "draw figure"]  # spread as the figures' sampling error
    tail: float = 0.025  # share of the draws that an interval leaves out at either end

    def interval(self, figure: int) -> tuple[float, float]:
        """The 95 % percentile interval; resamples without the figure (NaN) are left out."""
        known = self.draws[:, figure][np.isfinite(self.draws[:, figure])]
        if not len(known):
            return float(self.point[figure]), float(self.point[figure])
        low, high = np.quantile(known, (self.tail, 1.0 - self.tail))
        return float(low), float(high)

    def figure(self, figure: int) -> dict[str, Any] | None:
        """Its value and interval, as reports have them; None where it does not exist."""
        value = float(self.point[figure])
        if not np.isfinite(value):
            return None
        return {"value": value, "ci95_identity": list(self.interval(figure))}


def identity_bootstrap(
    statistic: Statistic,
    subjects: PairSubjects,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """A statistic of pair weights under resampling of the subjects with replacement.

    A genuine pair weighs as often as its subject was drawn, an impostor pair the product of its
    two subjects' draws. That counts what belongs to a person once, as it should, but the noise
    of each impostor pair on its own three times (the product's variance is 3; Owen 2007), and
    would make intervals too wide where people occur in few pairs. The excess is measured by
    resampling the impostor pairs alone, and the draws are drawn together about the point
    accordingly: the variance is then that of dyadic cluster-robust estimators (Aronow, Samii &
    Assenova 2015; Fogliato, Patil & Perona 2024). Intervals are a little wider for few subjects.
    Very many pairs are resampled less often than `resamples` says.
    """
    resamples = min(resamples, max(FEWEST, MOST_WEIGHTS // max(1, len(subjects.left))))
    point = statistic(np.ones(len(subjects.left)))
    draws = np.stack(
        [
            statistic(subjects.weights(_drawn(subjects.count, seed, IDENTITIES, number)))
            for number in range(resamples)
        ]
    )
    products = np.flatnonzero(subjects.left != subjects.right)
    noise = np.stack(
        [
            statistic(_reweighted(len(subjects.left), products, seed, number))
            for number in range(max(2, resamples // NOISE_SHARE))
        ]
    )
    spread = point + (draws - point) * _shrinkage(draws, noise)
    return Resampled(point, spread, _tail(subjects.count))


def _tail(count: int) -> float:
    """The expanded percentile interval of a sample of `count` (Hesterberg 2015): a
    bootstrap's spread is short by sqrt((n - 1) / n) and lacks the t distribution's tails."""
    if count < 2:
        return 0.0
    return float(norm.cdf(-np.sqrt(count / (count - 1)) * t.ppf(0.975, count - 1)))


def _drawn(count: int, seed: int, purpose: int, number: int) -> np.ndarray:
    rng = np.random.default_rng((seed, purpose, number))
    return np.bincount(rng.integers(count, size=count), minlength=count)


def _reweighted(count: int, rows: np.ndarray, seed: int, number: int) -> np.ndarray:
    weights = np.ones(count)
    weights[rows] = _drawn(len(rows), seed, PAIRS, number)
    return weights


def _shrinkage(draws: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """sqrt((V - 2 N) / V) per figure; V is never taken for less than the pairs' own noise N."""
    spread, excess = (_variance(values) for values in (draws, noise))
    wanted = np.maximum(spread - 2.0 * excess, np.minimum(excess, spread))
    return np.sqrt(np.divide(wanted, spread, out=np.ones_like(spread), where=spread > 0))


def _variance(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    return (np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count


def at_least(interval: tuple[float, float], least: tuple[float, float]) -> tuple[float, float]:
    """The hull of two intervals. A bootstrap of a proportion without a failure has no width;
    Wilson's interval of the same proportion is then what is left to say."""
    return min(interval[0], least[0]), max(interval[1], least[1])


@dataclass(frozen=True)
class McNemar:
    """Pairs that one model alone decides rightly, and the exact two-sided p-value."""

    only_a: int
    only_b: int
    p_value: float


def mcnemar(correct_a: Bool[np.ndarray, " pair"], correct_b: Bool[np.ndarray, " pair"]) -> McNemar:
    """McNemar's exact test of two models' decisions on the same pairs (McNemar 1947).

    It takes pairs for independent: where they share people its p-value is too small.
    """
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    if not only_a + only_b:
        return McNemar(0, 0, 1.0)
    return McNemar(only_a, only_b, float(binomtest(only_a, only_a + only_b).pvalue))
