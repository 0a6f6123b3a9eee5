"""Differences between groups of people: accuracy, FMR and FNMR, with intervals over identities.

A pair is of a group where both its people are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from eval.scoring.metrics import MIN_FALSE_ACCEPTS, enough_impostors
from eval.scoring.roc import roc
from eval.scoring.scored import ScoredPairs, repeated
from manifests.core.errors import InputError

GLOBAL_FMRS = (0.01, 0.001)
LEAST_PAIRS = 10  # of a kind, that a group's figure rests on: of fewer one error is over a tenth


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
    """SUMMARIES of the groups' error rates; std has ddof 1, as the field reports it. NaN of fewer
    than two groups."""
    if len(rate) < 2:
        return np.full(len(SUMMARIES), np.nan)
    return np.array([rate.mean(), rate.std(ddof=1), worst_over_best(rate), gini(rate)])


@dataclass(frozen=True)
class Errors:
    """Which of the pairs in question an error befell, by group."""

    wrong: Bool[np.ndarray, " pair"]
    asked: Bool[np.ndarray, " pair"]
    group: Int[np.ndarray, " pair"]
    num_groups: int

    @property
    def known(self) -> Bool[np.ndarray, " group"]:
        """Groups of which any pair is in question."""
        return np.bincount(self.group[self.asked], minlength=self.num_groups) > 0

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
    """One kind of error: rates of the groups, then SUMMARIES of those that have one, with
    resampled ones."""

    errors: Errors
    resampled: Resampled

    @classmethod
    def of(
        cls, errors: Errors, subjects: PairSubjects, *, resamples: int, seed: int
    ) -> GroupFigures:
        known = errors.known

        def statistic(weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " figure"]:
            rates = errors.rates(weights)
            return np.concatenate([rates, summaries(rates[known])])

        resampled = identity_bootstrap(statistic, subjects, resamples=resamples, seed=seed)
        return cls(errors, resampled)

    def group(self, row: int) -> Rate | None:
        """A group's error rate with Wilson's interval and the identities'; None where none of its
        pairs is in question."""
        if not self.errors.known[row]:
            return None
        own = self.errors.wilson(row)
        identity = at_least(self.resampled.interval(row), own)
        return Rate(float(self.resampled.point[row]), own, identity)

    def summary(self, name: str) -> dict[str, Any] | None:
        """One of SUMMARIES; None where it does not exist."""
        return self.resampled.figure(self.errors.num_groups + SUMMARIES.index(name))


@dataclass(frozen=True)
class Grouped:
    """Pairs that are of one group each, and the people in them."""

    pairs: ScoredPairs
    subjects: PairSubjects
    names: Sequence[str]
    of_pair: Int[np.ndarray, " pair"]

    @classmethod
    def of(cls, pairs: ScoredPairs, subjects: PairSubjects) -> Grouped:
        """Raises InputError where no pair is of a group."""
        inside = np.array([name != "" for name in pairs.group or ()], bool)
        if not inside.any():
            raise InputError("no pair is of a group: name the group of two people who share one")
        own = pairs.only(inside)
        names, of_pair = np.unique(np.array(own.group, dtype=object), return_inverse=True)
        return cls(own, subjects.only(inside), names.tolist(), of_pair)

    def counts(self, row: int) -> dict[str, int]:
        here = self.of_pair == row
        same = self.pairs.same[here]
        sides = self.subjects.left[here], self.subjects.right[here]
        return {
            "num_pairs": int(here.sum()),
            "num_genuine": int(same.sum()),
            "num_impostors": int((~same).sum()),
            "num_subjects": len(np.unique(np.concatenate(sides))),
        }

    def distinct_impostors(self) -> Int[np.ndarray, " group"]:
        new = ~self.pairs.same & ~repeated(self.pairs.left, self.pairs.right)
        return np.bincount(self.of_pair[new], minlength=len(self.names))


def by_group(
    pairs: ScoredPairs,
    metric: str,
    subjects: PairSubjects,
    *,
    fmrs: Sequence[float] = GLOBAL_FMRS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of each group of `pairs.group` and of their differences; a pair of no one group (its
    people are of two) counts in none, and chooses no threshold.

    Accuracy is that of InsightFace's rule within each group, with thresholds of its own, as the
    field reports RFW. FMR and FNMR are those at one threshold for everybody: the lowest at
    which the impostors of all groups together have at most that FMR; null where these are too
    few. A group's figure is null where its pairs or people are too few, which `reasons` says, and
    differences are then those of the other groups; null with fewer than two, and where a best rate
    of 0 leaves no ratio. Intervals resample subjects and keep decisions and thresholds as they are.
    Raises InputError where no pair is of a group.
    """
    grouped = Grouped.of(pairs, subjects)
    reasons: list[str] = []
    if len(grouped.names) < 2:
        reasons.append(f"one group only ({grouped.names[0]}), differences need two")

    def figures(wrong: np.ndarray, asked: np.ndarray) -> GroupFigures:
        errors = Errors(wrong, asked, grouped.of_pair, len(grouped.names))
        return GroupFigures.of(errors, grouped.subjects, resamples=resamples, seed=seed)

    correct, asked = _decisions(grouped, metric, reasons)
    accuracies = _accuracies(grouped, figures(~correct, asked))
    at_fmr: dict[str, Any] = {f"{fmr:g}": None for fmr in fmrs}
    for fmr, threshold in _thresholds(grouped, fmrs, reasons).items():
        accepted = grouped.pairs.score > threshold
        borne = _borne(grouped, fmr, reasons)
        kinds = {"fmr": figures(accepted, borne["fmr"]), "fnmr": figures(~accepted, borne["fnmr"])}
        at_fmr[f"{fmr:g}"] = {"threshold": threshold, **_rates(grouped.names, kinds)}
    return {
        **accuracies,
        "at_global_fmr": at_fmr,
        "num_pairs_of_no_group": len(pairs) - len(grouped.pairs),
        "reasons": reasons,
    }


def _decisions(
    grouped: Grouped, metric: str, reasons: list[str]
) -> tuple[Bool[np.ndarray, " pair"], Bool[np.ndarray, " pair"]]:
    """Whether each pair is decided rightly within its group's folds, and whether it is decided:
    its group's accuracy exists."""
    pairs = grouped.pairs
    correct, asked = np.zeros(len(pairs), bool), np.zeros(len(pairs), bool)
    for row, name in enumerate(grouped.names):
        own = grouped.of_pair == row
        part = pairs.score[own], pairs.same[own], pairs.fold[own]
        try:
            _check_kinds(grouped.counts(row))
            check_folds(pairs.fold[own], pairs.same[own])
        except InputError as error:
            reasons.append(f"accuracy of {name}: {error}")
        else:
            correct[own], asked[own] = insightface_accuracy(*part, metric).correct, True
    return correct, asked


def _check_kinds(counts: Mapping[str, int]) -> None:
    genuine, impostors = counts["num_genuine"], counts["num_impostors"]
    if min(genuine, impostors) < LEAST_PAIRS:
        raise InputError(
            f"{genuine} genuine and {impostors} impostor pairs, expected at least {LEAST_PAIRS} "
            "of each"
        )


def _borne(grouped: Grouped, fmr: float, reasons: list[str]) -> dict[str, np.ndarray]:
    """The impostors of groups with a FMR, and the genuine pairs of those with a FNMR. A FMR needs
    so many impostors that one false match is no more than the rate that is asked."""
    impostors, same = grouped.distinct_impostors(), grouped.pairs.same
    asked = {"fmr": ~same, "fnmr": same}
    least = {"fmr": math.ceil(1.0 / fmr - 1e-6), "fnmr": LEAST_PAIRS}
    for row, name in enumerate(grouped.names):
        found = {"fmr": int(impostors[row]), "fnmr": grouped.counts(row)["num_genuine"]}
        for kind, pairs in (("fmr", "impostor"), ("fnmr", "genuine")):
            if found[kind] < least[kind]:
                asked[kind] = asked[kind] & (grouped.of_pair != row)
                reasons.append(
                    f"{kind.upper()} of {name} at {fmr:g}: {found[kind]} {pairs} pairs, expected "
                    f"{least[kind]}"
                )
    return asked


def _thresholds(grouped: Grouped, fmrs: Sequence[float], reasons: list[str]) -> dict[float, float]:
    """Those that the groups' impostors bear."""
    pairs, impostors = grouped.pairs, int(grouped.distinct_impostors().sum())
    borne = [fmr for fmr in fmrs if enough_impostors(impostors, fmr)]
    reasons += [
        f"rates at {fmr:g}: {impostors} impostor pairs within groups, expected "
        f"{math.ceil(MIN_FALSE_ACCEPTS / fmr - 1e-6)}"
        for fmr in fmrs
        if fmr not in borne
    ]
    if not borne or not pairs.same.any():
        return {}
    curve = roc(pairs.score, pairs.same)
    return {fmr: curve.threshold_at(fmr) for fmr in borne}


def _accuracies(grouped: Grouped, errors: GroupFigures) -> dict[str, Any]:
    groups = {}
    for row, name in enumerate(grouped.names):
        error = errors.group(row)
        accuracy = error and error.complement().as_json()
        groups[name] = {**grouped.counts(row), "accuracy": accuracy}
    mean = errors.summary("mean")
    if mean is not None:
        low, high = mean["ci95_identity"]
        mean = {"value": 1.0 - mean["value"], "ci95_identity": [1.0 - high, 1.0 - low]}
    return {
        "groups": groups,
        "accuracy_mean": mean,
        "accuracy_std": errors.summary("std"),
        "accuracy_ser": errors.summary("worst_over_best"),
    }


def _rates(names: Sequence[str], kinds: Mapping[str, GroupFigures]) -> dict[str, Any]:
    groups: dict[str, Any] = {name: {} for name in names}
    for kind, figures in kinds.items():
        for row, name in enumerate(names):
            rate = figures.group(row)
            groups[name][kind] = rate and rate.as_json()
    differences = {
        f"{kind}_{name}": figures.summary(name)
        for kind, figures in kinds.items()
        for name in ("worst_over_best", "gini")
    }
    return {"groups": groups, **differences}
