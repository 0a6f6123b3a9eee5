"""Tables of an experiment: every arm's figures, and paired differences to a control."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Results = Mapping[str, Mapping[str, np.ndarray]]  # {ARM-SEED: {measure: by face or pair}}
RESAMPLED = 2000


def read_results(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    return {path.stem: dict(np.load(path)) for path in sorted(folder.glob("*.npz"))}


def interval(values: np.ndarray) -> list[float]:
    """95 % bootstrap interval of the mean over faces or pairs."""
    rng = np.random.default_rng(0)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLED)]
    return [round(float(bound), 5) for bound in np.quantile(means, [0.025, 0.975])]


def figure(values: np.ndarray) -> dict[str, Any]:
    return {"value": round(float(values.mean()), 5), "ci95": interval(values)}


def rows(
    results: Results, measures: Mapping[str, str], kind: str, **same: Any
) -> list[dict[str, Any]]:
    """A row an arm (a `kind` of thing) and seed; `measures`: {key of a result: name in the
    table}, `same`: what all rows share."""
    return [
        {
            kind: name.rpartition("-")[0],
            "seed": int(name.rpartition("-")[2]),
            "faces": int(result["num_new"]),
            **same,
            **{shown: figure(result[key]) for key, shown in measures.items()},
        }
        for name, result in results.items()
    ]


def differences(
    results: Results, control: str, seeds: Sequence[int], measures: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Every arm less the control, face by face or pair by pair, the mean over seeds that both
    have. Intervals are over faces or pairs; `by_seed` shows what seeds do."""
    arms = sorted({name.rpartition("-")[0] for name in results} - {control})
    return {
        arm: {
            shown: difference(results, arm, control, seeds, key) for key, shown in measures.items()
        }
        for arm in arms
    }


def difference(
    results: Results, arm: str, control: str, seeds: Sequence[int], key: str
) -> dict[str, Any]:
    both = [s for s in seeds if f"{arm}-{s}" in results and f"{control}-{s}" in results]
    if not both:
        return {}
    each = np.stack(
        [results[f"{arm}-{s}"][key].astype(float) - results[f"{control}-{s}"][key] for s in both]
    )
    by_seed = [round(float(row.mean()), 5) for row in each]
    return {**figure(each.mean(axis=0)), "by_seed": by_seed}


def over_seeds(results: Results, measures: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation of the arms that have several seeds."""
    by_arm = defaultdict(list)
    for name, result in results.items():
        by_arm[name.rpartition("-")[0]].append(result)
    return {
        arm: {
            shown: mean_and_std([float(result[key].mean()) for result in found])
            for key, shown in measures.items()
        }
        for arm, found in by_arm.items()
        if len(found) > 1
    }


def mean_and_std(values: Sequence[float]) -> dict[str, Any]:
    """With n - 1; null of a single seed."""
    return {
        "mean": round(float(np.mean(values)), 5),
        "std": round(float(np.std(values, ddof=1)), 5) if len(values) > 1 else None,
        "seeds": len(values),
    }
