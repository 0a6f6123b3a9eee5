"""What a change of the recipe does to students: several of each kind, on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.scoring.intervals import Statistic, identity_bootstrap
from eval.scoring.metrics import PLACE, verification_statistic
from eval.scoring.results import Result, check_same_pairs

FIGURES = ("accuracy", "auc")


def effects(
    results: Mapping[str, Sequence[Result]], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Figures of each kind, the mean over its seeds, and those less the first kind's, over the
    same resampled people. Intervals are over people: the spread of seeds stands beside them.

    Raises InputError for results that are not of the same pairs.
    """
    every = [result for own in results.values() for result in own]
    check_same_pairs(every)
    means = {arm: _mean(own) for arm, own in results.items()}

    def statistic(weights: np.ndarray) -> np.ndarray:
        figures = np.stack([means[arm](weights) for arm in results])
        return np.concatenate([figures.reshape(-1), (figures - figures[0]).reshape(-1)])

    subjects = every[0].pairs.subjects(every[0].subject_rule)
    found = identity_bootstrap(statistic, subjects, resamples=resamples, seed=seed)
    width, half = len(FIGURES), len(results) * len(FIGURES)
    rows = {}
    for row, (arm, own) in enumerate(results.items()):
        rows[arm] = {
            name: found.figure(row * width + at) for at, name in enumerate(FIGURES)
        } | {
            "less_first": {
                name: found.figure(half + row * width + at) for at, name in enumerate(FIGURES)
            },
            "accuracy_by_seed": [float(each.figures["accuracy"]) for each in own],
        }  # fmt: skip
    first = every[0]
    return {
        "protocol_sha256": first.protocol,
        "num_pairs": len(first.pairs),
        "num_subjects": subjects.count,
        "students": rows,
    }


def _mean(results: Sequence[Result]) -> Statistic:
    """FIGURES of several results, averaged."""
    places = [PLACE[name] for name in FIGURES]
    statistics = [verification_statistic(each.pairs, each.decisions()) for each in results]
    return lambda weights: np.mean([each(weights)[places] for each in statistics], axis=0)
