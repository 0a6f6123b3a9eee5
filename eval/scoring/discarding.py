"""Error versus discard: FNMR of the pairs that are left when those of the lowest quality are gone.

A pair is as good as the worse of its images (Grother & Tabassi 2007; the grid is that of CR-FIQA).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.scoring.intervals import RESAMPLES, PairSubjects, Resampled, Statistic, identity_bootstrap
from eval.scoring.metrics import MIN_FALSE_ACCEPTS, require_impostors
from eval.scoring.roc import RankedPairs
from eval.scoring.scored import ScoredPairs
from manifests.core.errors import InputError
from manifests.photographs.names import Spellings

GRID = np.arange(20) / 20  # 0, 0.05, … 0.95 of the pairs
PARTIAL = 0.3  # the partial area ends here
AREAS = ("auc", "pauc", "auc_over_random", "pauc_over_random")  # after the curve's points
FIXED, RE_ESTIMATED = "fixed", "re-estimated"
RULES = {
    FIXED: "fixed: at the FMR on all pairs",
    RE_ESTIMATED: "re-estimated: at the FMR on the pairs that are left, as CR-FIQA's code",
}


def pair_quality(pairs: ScoredPairs, quality: Mapping[str, float]) -> Float[np.ndarray, " pair"]:
    """The lower quality of each pair's images. Raises InputError for an image without one."""
    spellings = Spellings(quality)
    found = {name: spellings.find(name) for name in sorted({*pairs.left, *pairs.right})}
    missing = [name for name, row in found.items() if row is None]
    if missing:
        raise InputError(
            f"the quality table lacks {len(missing)} images of the pairs, the first is "
            f"{missing[0]!r}"
            f"{spellings.hint(missing[0]) or '; it must name them as scores.parquet does'}"
        )
    sides = [[quality[found[name] or ""] for name in side] for side in (pairs.left, pairs.right)]
    return np.minimum(*np.array(sides))


@dataclass(frozen=True)
class Discarding:
    """Pairs in rising order of quality. Where a share ends amid pairs of equal quality each of
    them is discarded in part, so that no curve depends on their order."""

    order: Int[np.ndarray, " pair"]
    last: Int[np.ndarray, " level"]  # the last pair of every run of equal quality

    @classmethod
    def by(cls, quality: Float[np.ndarray, " pair"]) -> Discarding:
        order = np.argsort(quality, kind="stable")
        return cls(order, np.flatnonzero(np.append(np.diff(quality[order]) != 0, True)))

    def kept(
        self, weights: Float[np.ndarray, " pair"], amount: Float[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " share"]:
        """The sum of `amount` over what is left after discarding each share of GRID."""
        gone = self._cumulated(weights)
        sums = self._cumulated(amount)
        return sums[-1] - np.interp(GRID * gone[-1], gone, sums)

    def part_kept(
        self, weights: Float[np.ndarray, " pair"], share: float
    ) -> Float[np.ndarray, " pair"]:
        """How much of each pair is left after discarding a share."""
        gone = self._cumulated(weights)
        size = np.diff(gone)
        left = gone[1:] - share * gone[-1]
        part = np.divide(left, size, out=np.ones_like(size), where=size > 0).clip(0.0, 1.0)
        found = np.empty(len(self.order))
        found[self.order] = np.repeat(part, np.diff(self.last, prepend=-1))
        return found

    def _cumulated(self, amount: np.ndarray) -> np.ndarray:
        return np.append(0.0, np.cumsum(amount[self.order])[self.last])


def fnmr_statistic(
    scores: Float[np.ndarray, " pair"],
    same: Bool[np.ndarray, " pair"],
    quality: Float[np.ndarray, " pair"],
    fmr: float,
    rule: str,
) -> Statistic:
    """Pair weights -> FNMR after discarding each share of GRID, AUC, pAUC, and these two over
    those of discarding at random.

    Under the fixed rule random discarding leaves FNMR as it is. Areas are of FNMR over the share
    (trapezoids), to 0.95 and to PARTIAL, not normalised. A share that leaves no genuine pair
    repeats the FNMR of the one before.
    """
    ranked, discarding = RankedPairs.of(scores, same), Discarding.by(quality)

    def fixed(weights: np.ndarray) -> np.ndarray:
        threshold = ranked.curve(weights).threshold_at(fmr)
        if np.isnan(threshold):
            return np.full(len(GRID), np.nan)
        missed = same & (scores <= threshold)
        left, wrong = (discarding.kept(weights, weights * rows) for rows in (same, missed))
        return np.divide(wrong, left, out=np.full(len(GRID), np.nan), where=left > 1e-9)

    def re_estimated(weights: np.ndarray) -> np.ndarray:
        curves = [ranked.curve(weights * discarding.part_kept(weights, share)) for share in GRID]
        return np.array([1.0 - curve.tar_at(fmr) for curve in curves])

    def statistic(weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " figure"]:
        fnmr = _carried((fixed if rule == FIXED else re_estimated)(weights))
        areas = np.array([_area(fnmr, GRID[-1]), _area(fnmr, PARTIAL)])
        random = fnmr[0] * np.array([GRID[-1], PARTIAL])
        ratio = np.divide(areas, random, out=np.full(2, np.nan), where=random > 0)
        return np.concatenate([fnmr, areas, ratio])

    return statistic


def _carried(values: np.ndarray) -> np.ndarray:
    """NaN replaced by the last known value before it."""
    known = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return values[known]


def _area(fnmr: np.ndarray, end: float) -> float:
    inside = GRID <= end + 1e-9
    return float(np.trapezoid(fnmr[inside], GRID[inside]))


def discard_figures(
    pairs: ScoredPairs,
    quality: Float[np.ndarray, " pair"],
    subjects: PairSubjects,
    *,
    fmr: float,
    rule: str = FIXED,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The curve, its areas and those over random discarding, with intervals over identities.

    Raises InputError where impostors are too few for the FMR.
    `borne_to`: the largest share after which enough pairs are left: 10 genuine ones and, where
    the threshold is found on them, 10 / FMR impostors.
    """
    require_impostors(pairs.distinct_impostors, fmr)
    statistic = fnmr_statistic(pairs.score, pairs.same, quality, fmr, rule)
    found = identity_bootstrap(statistic, subjects, resamples=resamples, seed=seed)
    return {
        "fmr": fmr,
        "threshold_rule": RULES[rule],
        "pair_quality": "the lower of the two images'",
        "discarded": GRID.tolist(),
        "partial_to": PARTIAL,
        "borne_to": borne_to(pairs, quality, fmr, rule),
        **curve_figures(found),
        "num_pairs": len(pairs),
        "num_subjects": subjects.count,
    }


def borne_to(
    pairs: ScoredPairs, quality: Float[np.ndarray, " pair"], fmr: float, rule: str
) -> float:
    """The largest share of GRID that leaves enough pairs for what is said of them."""
    each, discarding = np.ones(len(pairs)), Discarding.by(quality)
    genuine, impostors = (
        discarding.kept(each, rows.astype(float)) for rows in (pairs.same, ~pairs.same)
    )
    needed = MIN_FALSE_ACCEPTS / fmr if rule == RE_ESTIMATED else 0.0
    borne = (genuine >= MIN_FALSE_ACCEPTS - 1e-9) & (impostors >= needed - 1e-9)
    return float(GRID[max(0, int(np.argmin(np.append(borne, False))) - 1)])


def curve_figures(found: Resampled, start: int = 0) -> dict[str, Any]:
    """Of one `fnmr_statistic`, whose figures begin at `start`."""
    points = range(start, start + len(GRID))
    return {
        "fnmr": [float(found.point[point]) for point in points],
        "fnmr_ci95_identity": [list(found.interval(point)) for point in points],
        **{name: found.figure(points.stop + place) for place, name in enumerate(AREAS)},
    }
