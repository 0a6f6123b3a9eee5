"""Differences between groups of people: accuracy, FMR and FNMR, with intervals over identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.scoring.folds import check_folds, insightface_accuracy
from eval.scoring.intervals import (
    RESAMPLES,
    PairSubjects,
    Resampled,
    at_least,
    identity_bootstrap,
    wilson,
)
from eval.scoring.metrics import enough_impostors
from eval.scoring.roc import roc
from eval.scoring.scored import ScoredPairs, check_pairs
from manifests.core.errors import InputError

GLOBAL_FMRS = (0.01, 0.001)


def worst_over_best(rate: Float[np.ndarray, " group"]) -> float:
    """The largest error rate over the smallest one, 1 if fair; of errors of accuracy the skewed
    error ratio, SER (Wang & Deng 2020). NaN where the smallest is 0."""
    return float(rate.max() / rate.min()) if rate.min() > 0 else float("nan")


def gini(rate: Float[np.ndarray, " group"]) -> float:
    """Gini coefficient with the small-sample factor n / (n - 1): 0 where all groups have one
    rate, 1 where one group has all of it (Howard et al. 2022). NaN where all are 0."""
    if not rate.sum():
        return float("nan")
    spread = np.abs(rate[:, None] - rate).sum() / (2 * len(rate) ** 2 * rate.mean())
    return float(spread * len(rate) / (len(rate) - 1))


SUMMARIES = ("mean", "std", "worst_over_best", "gini")


def summaries(rate: Float[np.ndarray, " group"]) -> Float[np.ndarray, " summary"]:
    """SUMMARIES of the groups' error rates; std has ddof 1, as the field reports it."""
    return np.array([rate.mean(), rate.std(ddof=1), worst_over_best(rate), gini(rate)])


@dataclass(frozen=True)
class Errors:
    """Which of the pairs in question an error befell, by group."""

    wrong: Bool[np.ndarray, " pair"]
    asked: Bool[np.ndarray, " pair"]
    group: Int[np.ndarray, " pair"]
    num_groups: int

    def rates(self, weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " group"]:
        """The error rate of each group; NaN where none of its pairs weighs anything."""
        wrong = self._sums(weights * (self.wrong & self.asked))
        total = self._sums(weights * self.asked)
        return np.divide(wrong, total, out=np.full(self.num_groups, np.nan), where=total > 0)

    def wilson(self, group: int) -> tuple[float, float]:
        here = self.asked & (self.group == group)
        return wilson(int((self.wrong & here).sum()), int(here.sum()))

    def _sums(self, weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " group"]:
        return np.bincount(self.group, weights, self.num_groups)


@dataclass(frozen=True)
class Rate:
    """A proportion with its two intervals."""

    value: float
    ci95: tuple[float, float]
    ci95_identity: tuple[float, float]

    def complement(self) -> Rate:
        low, high = ((1.0 - ci[1], 1.0 - ci[0]) for ci in (self.ci95, self.ci95_identity))
        return Rate(1.0 - self.value, low, high)

    def as_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "ci95": list(self.ci95),
            "ci95_identity": list(self.ci95_identity),
        }


@dataclass(frozen=True)
class GroupFigures:
    """One kind of error: rates of the groups, then SUMMARIES, with resampled ones."""

    errors: Errors
    resampled: Resampled

    @classmethod
    def of(
        cls, errors: Errors, subjects: PairSubjects, *, resamples: int, seed: int
    ) -> GroupFigures:
        def statistic(weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " figure"]:
            rates = errors.rates(weights)
            return np.concatenate([rates, summaries(rates)])

        resampled = identity_bootstrap(statistic, subjects, resamples=resamples, seed=seed)
        return cls(errors, resampled)

    def group(self, row: int) -> Rate:
        """A group's error rate with Wilson's interval and the identities'."""
        own = self.errors.wilson(row)
        identity = at_least(self.resampled.interval(row), own)
        return Rate(float(self.resampled.point[row]), own, identity)

    def summary(self, name: str) -> dict[str, Any] | None:
        """One of SUMMARIES; None where it does not exist."""
        return self.resampled.figure(self.errors.num_groups + SUMMARIES.index(name))


def by_group(
    pairs: ScoredPairs,
    group: Sequence[str],
    metric: str,
    subjects: PairSubjects,
    *,
    fmrs: Sequence[float] = GLOBAL_FMRS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of each group and of their differences; `group` names the group of every pair.

    Accuracy is that of InsightFace's rule within each group, with thresholds of its own, as the
    field reports RFW. FMR and FNMR are those at one threshold for everybody: the lowest at
    which the impostors of all groups together have at most that FMR; null where these are too
    few. Differences are null where a best rate of 0 leaves no ratio. Intervals resample subjects
    and keep decisions and thresholds as they are.
    Raises InputError for fewer than two groups, or a group without both kinds of pairs.
    """
    names, of_pair = np.unique(np.array(group, dtype=object), return_inverse=True)
    if len(names) < 2:
        raise InputError(f"one group of people only ({names[0]}); differences need at least two")
    correct = _decisions(pairs, of_pair, names, metric)
    thresholds = _thresholds(pairs, fmrs)

    def figures(wrong: np.ndarray, asked: np.ndarray) -> GroupFigures:
        errors = Errors(wrong, asked, of_pair, len(names))
        return GroupFigures.of(errors, subjects, resamples=resamples, seed=seed)

    at_fmr: dict[str, Any] = {f"{fmr:g}": None for fmr in fmrs}
    for fmr, threshold in thresholds.items():
        accepted = pairs.score > threshold
        kinds = figures(accepted, ~pairs.same), figures(~accepted, pairs.same)
        at_fmr[f"{fmr:g}"] = {"threshold": threshold, **_rates(names, *kinds)}
    errors = figures(~correct, np.ones(len(pairs), bool))
    return {**_accuracies(names, errors), "at_global_fmr": at_fmr}


def _decisions(
    pairs: ScoredPairs, of_pair: np.ndarray, names: np.ndarray, metric: str
) -> Bool[np.ndarray, " pair"]:
    """Whether each pair is decided rightly within its group's folds."""
    correct = np.zeros(len(pairs), bool)
    for row, name in enumerate(names):
        own = of_pair == row
        try:
            check_pairs(pairs.score[own], pairs.same[own])
            check_folds(pairs.fold[own], pairs.same[own])
        except InputError as error:
            raise InputError(f"group {name}: {error}") from None
        part = pairs.score[own], pairs.same[own], pairs.fold[own]
        correct[own] = insightface_accuracy(*part, metric).correct
    return correct


def _thresholds(pairs: ScoredPairs, fmrs: Sequence[float]) -> dict[float, float]:
    curve, impostors = roc(pairs.score, pairs.same), pairs.distinct_impostors
    return {fmr: curve.threshold_at(fmr) for fmr in fmrs if enough_impostors(impostors, fmr)}


def _accuracies(names: np.ndarray, errors: GroupFigures) -> dict[str, Any]:
    counts = np.bincount(errors.errors.group)
    groups = {
        name: {"num_pairs": int(counts[row]), "accuracy": errors.group(row).complement().as_json()}
        for row, name in enumerate(names)
    }
    mean = errors.summary("mean")
    assert mean is not None  # every group has pairs
    low, high = mean["ci95_identity"]
    return {
        "groups": groups,
        "accuracy_mean": {"value": 1.0 - mean["value"], "ci95_identity": [1.0 - high, 1.0 - low]},
        "accuracy_std": errors.summary("std"),
        "accuracy_ser": errors.summary("worst_over_best"),
    }


def _rates(names: np.ndarray, fmr: GroupFigures, fnmr: GroupFigures) -> dict[str, Any]:
    kinds = {"fmr": fmr, "fnmr": fnmr}
    groups = {
        name: {kind: figures.group(row).as_json() for kind, figures in kinds.items()}
        for row, name in enumerate(names)
    }
    differences = {
        f"{kind}_{name}": figures.summary(name)
        for kind, figures in kinds.items()
        for name in ("worst_over_best", "gini")
    }
    return {"groups": groups, **differences}
