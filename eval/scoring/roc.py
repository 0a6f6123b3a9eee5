"""Operating curves of weighted pairs: ROC, AUC, EER and TAR at a FAR.

A pair is accepted where its score is above the threshold, so that pairs of equal score are
accepted together: no curve depends on the order of tied pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

ROUNDING = 1e-12  # share of a rate that sums of floats may be off: 0.29 · 100 is not 29


@dataclass(frozen=True)
class Curve:
    """Operating points from accepting nobody to accepting everybody; `far` and `tar` rise."""

    far: Float[np.ndarray, " point"]
    tar: Float[np.ndarray, " point"]
    threshold: Float[np.ndarray, " point"]  # accepted: score > threshold; the last is -inf

    def auc(self) -> float:
        """Area under tar over far: the chance that a genuine pair scores above an impostor
        pair, ties counted half (Hanley & McNeil 1982)."""
        return float(np.trapezoid(self.tar, self.far))

    def eer(self) -> float:
        """Where far equals 1 - tar on the straight line between the two neighbouring operating
        points (no convex hull)."""
        difference = (1.0 - self.tar) - self.far  # falls from 1 to -1
        after = int(np.argmax(difference <= 0))
        before = max(0, after - 1)
        span = difference[before] - difference[after]
        share = difference[before] / span if span else 0.0
        return float(self.far[before] + share * (self.far[after] - self.far[before]))

    def at_far(self, far: float) -> int:
        """The point of the lowest threshold whose far is at most the wanted one."""
        return int(np.searchsorted(self.far, far * (1 + ROUNDING), side="right")) - 1

    def tar_at(self, far: float) -> float:
        return float(self.tar[self.at_far(far)])

    def threshold_at(self, far: float) -> float:
        return float(self.threshold[self.at_far(far)])


@dataclass(frozen=True)
class RankedPairs:
    """Pairs in falling order of score: sorted once, for as many weightings as wanted."""

    order: Int[np.ndarray, " pair"]
    same: Bool[np.ndarray, " pair"]  # in that order
    last: Int[np.ndarray, " level"]  # the last pair of every run of equal scores
    levels: Float[np.ndarray, " level"]  # the distinct scores

    @classmethod
    def of(cls, scores: Float[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"]) -> RankedPairs:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
        return cls(order, same[order], last, ranked[last])

    def curve(self, weights: Float[np.ndarray, " pair"] | None = None) -> Curve:
        """The operating curve; a pair of weight w counts as w pairs. Where one of the kinds
        weighs nothing all is NaN, and so is every figure of it."""
        own = np.ones(len(self.order)) if weights is None else weights[self.order]
        genuine = np.cumsum(np.where(self.same, own, 0.0))[self.last]
        impostor = np.cumsum(np.where(self.same, 0.0, own))[self.last]
        if not (genuine[-1] and impostor[-1]):
            nothing = np.full(len(self.levels) + 1, np.nan)
            return Curve(nothing, nothing, nothing)
        far, tar = impostor / impostor[-1], genuine / genuine[-1]
        threshold = np.append(self.levels, -np.inf)
        return Curve(np.append(0.0, far), np.append(0.0, tar), threshold)


def roc(scores: Float[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"]) -> Curve:
    """The operating curve of pairs that count once each."""
    return RankedPairs.of(scores, same).curve()
