"""The figures of metrics.json, from a table of scored pairs alone.

A pair is accepted where its score is above the threshold. docs/FIGURES.md defines every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from eval.scoring.folds import (
    FACEXZOO,
    INSIGHTFACE,
    FoldResult,
    check_folds,
    facexzoo_accuracy,
    insightface_accuracy,
)
from eval.scoring.intervals import (
    RESAMPLES,
    PairSubjects,
    Resampled,
    Statistic,
    at_least,
    identity_bootstrap,
    wilson,
)
from eval.scoring.roc import RankedPairs, roc
from eval.scoring.scored import ScoredPairs, check_pairs, parse_scores
from manifests.core.errors import InputError

MIN_FALSE_ACCEPTS = 10  # a FAR is not reported where fewer impostors would pass by chance
MIN_PEOPLE = 10  # of fewer an interval over people is far too narrow (docs/log/evaluation.md)
FARS = (0.01, 0.001, 0.0001)
DEEP_FARS = (1e-5, 1e-6)  # IJB's; spoken of where the impostors bear the lowest of FARS
FMRS = (0.1, *FARS, *DEEP_FARS)  # the FNMR at 0.01 is the field's FMR100, at 0.001 FMR1000
FIGURES = ("accuracy", "auc", "eer", *(f"tar@{fmr:g}" for fmr in FMRS))
THRESHOLDS = tuple(f"threshold@{fmr:g}" for fmr in FMRS)
PLACE = {name: place for place, name in enumerate((*FIGURES, *THRESHOLDS))}
IDENTITY_METHOD = (
    "bootstrap over subjects, pair noise counted once; of shares never narrower than Wilson's"
)


def figures_of(
    table: pa.Table,
    metric: str,
    subject_rule: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of metrics.json that follows from a scores table (photographs.scores.SCHEMA).

    `metric` is the model's (cosine, or euclidean with negated distances), `subject_rule` one of
    photographs.scores. Figures that the pairs do not allow are null: accuracy with a single fold,
    rates with fewer than 10 impostors, or 10 people, behind them.
    Raises InputError for no pairs, pairs of one kind only and scores that are not finite.
    """
    pairs = parse_scores(table)
    return figures_of_pairs(pairs, metric, subject_rule, resamples=resamples, seed=seed)


def figures_of_pairs(
    pairs: ScoredPairs,
    metric: str,
    subject_rule: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """As `figures_of`, of parsed pairs."""
    folds = fold_results(pairs, metric)
    subjects = pairs.subjects(subject_rule)
    correct = folds[0].correct if folds else np.zeros(len(pairs), bool)
    statistic = verification_statistic(pairs, correct)
    resampled = identity_bootstrap(statistic, subjects, resamples=resamples, seed=seed)
    return {
        **_accuracy_figures(pairs, folds, resampled),
        **_curve_figures(resampled),
        **_rate_figures(pairs, resampled, subjects.count),
        "ci95_identity_method": IDENTITY_METHOD,
        "ci95_identity_resamples": len(resampled.draws),
        "num_pairs": len(pairs),
        "num_genuine": int(pairs.same.sum()),
        "num_impostors": int((~pairs.same).sum()),
        "num_subjects": subjects.count,
        "num_folds": pairs.num_folds,
        "num_pairs_failed": int(pairs.failed.sum()),
    }


def figures_in_short(pairs: ScoredPairs, metric: str) -> dict[str, float]:
    """Accuracy, AUC and EER without intervals, of pairs in at least two folds."""
    curve, folds = roc(pairs.score, pairs.same), fold_results(pairs, metric)
    assert folds is not None
    return {"accuracy": float(folds[0].accuracies.mean()), "auc": curve.auc(), "eer": curve.eer()}


def fold_results(pairs: ScoredPairs, metric: str) -> tuple[FoldResult, FoldResult] | None:
    """InsightFace's and FaceX-Zoo's; None with a single fold, which leaves no other one to
    choose a threshold on. Raises InputError where the other folds lack a kind of pair."""
    if pairs.num_folds < 2:
        return None
    check_folds(pairs.fold, pairs.same)
    return (
        insightface_accuracy(pairs.score, pairs.same, pairs.fold, metric),
        facexzoo_accuracy(pairs.score, pairs.same, pairs.fold),
    )


def verification_statistic(pairs: ScoredPairs, correct: Bool[np.ndarray, " pair"]) -> Statistic:
    """Pair weights -> FIGURES, then THRESHOLDS. Decisions of the folds stay as they are: their
    thresholds are not chosen again. Folds count alike, however many pairs they have."""
    ranked = RankedPairs.of(pairs.score, pairs.same)
    _, home, sizes = np.unique(pairs.fold, return_inverse=True, return_counts=True)
    shares = 1.0 / sizes[home]

    def statistic(weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " figure"]:
        curve = ranked.curve(weights)
        points = [curve.at_far(fmr) for fmr in FMRS]
        own = weights * shares
        with np.errstate(invalid="ignore"):  # NaN where a few people's draw leaves no pair
            accuracy = own[correct].sum() / own.sum()
        rates = (accuracy, curve.auc(), curve.eer())
        return np.array([*rates, *curve.tar[points], *curve.threshold[points]])

    return statistic


def _accuracy_figures(
    pairs: ScoredPairs, folds: tuple[FoldResult, FoldResult] | None, resampled: Resampled
) -> dict[str, Any]:
    names = ("accuracy", "accuracy_std", "accuracy_ci95", "accuracy_ci95_identity")
    if folds is None:
        return dict.fromkeys((*names, "accuracy_facexzoo"), None)
    insight, facexzoo = folds
    own = wilson(int(insight.correct.sum()), len(pairs))
    wider = at_least(resampled.interval(PLACE["accuracy"]), own)
    return {
        "accuracy": float(insight.accuracies.mean()),
        "accuracy_std": float(insight.accuracies.std()),
        "accuracy_ci95": list(own),
        "accuracy_ci95_identity": list(wider),
        "accuracy_convention": INSIGHTFACE,
        "accuracy_ci95_method": "Wilson over the held-out decisions",
        "accuracy_by_fold": insight.accuracies.tolist(),
        "accuracy_facexzoo": float(facexzoo.accuracies.mean()),
        "accuracy_facexzoo_standard_error": float(
            facexzoo.accuracies.std(ddof=1) / np.sqrt(pairs.num_folds)
        ),
        "accuracy_facexzoo_convention": FACEXZOO,
    }


def _curve_figures(resampled: Resampled) -> dict[str, Any]:
    return {
        key: value
        for name in ("auc", "eer")
        for key, value in (
            (name, float(resampled.point[PLACE[name]])),
            (f"{name}_ci95_identity", list(resampled.interval(PLACE[name]))),
        )
    }


def _rate_figures(pairs: ScoredPairs, resampled: Resampled, people: int) -> dict[str, Any]:
    impostors = pairs.distinct_impostors if people >= MIN_PEOPLE else 0
    spoken_of = set(FMRS) - (set() if enough_impostors(impostors, FARS[-1]) else set(DEEP_FARS))
    rates = {
        fmr: _rate(pairs, resampled, fmr) if enough_impostors(impostors, fmr) else None
        for fmr in FMRS
        if fmr in spoken_of
    }
    return {
        "tar_at_far": {f"{far:g}": rates[far] for far in (*FARS, *DEEP_FARS) if far in rates},
        "fnmr_at_fmr": {f"{fmr:g}": _complement(rate) for fmr, rate in rates.items()},
    }


def _rate(pairs: ScoredPairs, resampled: Resampled, far: float) -> dict[str, Any]:
    """The TAR, Wilson's interval (of the TAR at this very threshold) and the identities' (the
    threshold moves with the people)."""
    tar, threshold = PLACE[f"tar@{far:g}"], PLACE[f"threshold@{far:g}"]
    genuine = int(pairs.same.sum())
    value = float(resampled.point[tar])
    own = wilson(round(value * genuine), genuine)
    return {
        "value": value,
        "ci95": list(own),
        "ci95_identity": list(at_least(resampled.interval(tar), own)),
        "threshold": float(resampled.point[threshold]),
        "threshold_ci95": list(resampled.interval(threshold)),
    }


def _complement(rate: dict[str, Any] | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    flipped = {name: [1.0 - end for end in rate[name][::-1]] for name in ("ci95", "ci95_identity")}
    return {**rate, "value": 1.0 - rate["value"], **flipped}


def people_known(metrics: Mapping[str, Any]) -> bool:
    """Whether intervals over people can be quoted: it is known who is who, and they are enough."""
    return metrics["subject_rule"] != "image" and metrics["num_subjects"] >= MIN_PEOPLE


def enough_impostors(count: int, far: float) -> bool:
    """Whether `count` impostor pairs bear a FAR: 10 of them are to pass."""
    return count * far * (1 + 1e-12) >= MIN_FALSE_ACCEPTS


def require_impostors(count: int, fmr: float) -> None:
    """Raises InputError unless `count` impostor pairs bear this false match rate."""
    if not 0.0 < fmr < 1.0:
        raise InputError(f"a false match rate of {fmr:g}; state one between 0 and 1")
    if not enough_impostors(count, fmr):
        raise InputError(
            f"{count} impostor pairs are too few for a false match rate of {fmr:g}: "
            f"state one of at least {MIN_FALSE_ACCEPTS / max(count, 1):.2g}, or bring "
            f"{int(np.ceil(MIN_FALSE_ACCEPTS / fmr))} such pairs"
        )


def threshold_at(
    scores: Float[np.ndarray, " pair"],
    same: Bool[np.ndarray, " pair"],
    fmr: float,
    *,
    subjects: PairSubjects | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """The operating threshold at a false match rate, and its 95 % interval.

    The lowest threshold that at most the share `fmr` of the impostor pairs is above; of other
    people's pairs it lets `fmr` pass only within the interval. The interval comes from
    resampling the subjects; without `subjects` every pair is taken for independent.
    Raises InputError where fewer than 10 impostor pairs would pass, for fewer than 10 subjects,
    and for unfit scores.
    """
    check_pairs(scores, same)
    require_impostors(int((~same).sum()), fmr)
    if subjects is not None and subjects.count < MIN_PEOPLE:
        raise InputError(
            f"{subjects.count} people are too few for a threshold; bring pairs of {MIN_PEOPLE}"
        )
    ranked = RankedPairs.of(scores, same)
    each = np.arange(len(same))
    resampled = identity_bootstrap(
        lambda weights: np.array([ranked.curve(weights).threshold_at(fmr)]),
        subjects or PairSubjects(each, each, len(same)),
        resamples=resamples,
        seed=seed,
    )
    return float(resampled.point[0]), resampled.interval(0)
