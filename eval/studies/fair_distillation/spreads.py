"""What is said of a student's fairness, of several seeds of one, and of two students' difference.

A figure is a number with its interval over people, or None where the pairs do not bear it.

What distillation does to a student, and to the gap between real and synthetic training faces.

Differences are paired by seed: both students began with the same random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from eval.scoring.fairness import by_group
from eval.scoring.scored import ScoredPairs
from eval.studies.fair_distillation.people_groups import GroupedPairs
from manifests.studies.fair_distillation import Cell

Figure = Mapping[str, Any]
Figures = Mapping[str, Figure | None]
BOUNDS = {"ser": (1.0, np.inf), "std": (0.0, np.inf), "ratio": (1.0, np.inf)}  # else a share's


@dataclass(frozen=True)
class Settings:
    fmr: float
    resamples: int
    seed: int


def fair_figures(
    pairs: ScoredPairs, grouped: GroupedPairs, metric: str, rule: str, settings: Settings
) -> dict[str, Figure | None]:
    """{name: figure} of one model: accuracy@GROUP, their mean, std (ddof 1) and ser, of balanced
    pairs at thresholds of each group's own; fmr@GROUP, fnmr@GROUP and the ratios of the worst to
    the best group, at the one threshold where all impostors together have the stated FMR."""
    subjects = pairs.subjects(rule)
    options: dict[str, Any] = {"resamples": settings.resamples, "seed": settings.seed}
    kept = grouped.balanced
    told = by_group(pairs.only(kept), metric, subjects.only(kept), fmrs=(), **options)
    rates = by_group(pairs, metric, subjects, fmrs=(settings.fmr,), **options)
    at_fmr = rates["at_global_fmr"][f"{settings.fmr:g}"]
    found = {f"accuracy@{name}": told["groups"][name]["accuracy"] for name in grouped.titles}
    found |= {name: told[f"accuracy_{name}"] for name in ("mean", "std", "ser")}
    for kind in ("fmr", "fnmr"):
        for name in grouped.titles:
            found[f"{kind}@{name}"] = at_fmr and at_fmr["groups"][name][kind]
        found[f"{kind}_ratio"] = at_fmr and at_fmr[f"{kind}_worst_over_best"]
    return found


def over_seeds(models: Sequence[Figures]) -> dict[str, Figure | None]:
    """{name: mean over the seeds, its 95 % t interval, and the interval over people (the means of
    its ends)}; None where one of the seeds has no such figure. One seed has no interval."""
    return {name: _over_seeds(name, [model[name] for model in models]) for name in models[0]}


def _over_seeds(name: str, figures: Sequence[Figure | None]) -> Figure | None:
    known = [figure for figure in figures if figure is not None]
    if len(known) < len(figures):
        return None
    values = [float(figure["value"]) for figure in known]
    ends = [figure["ci95_identity"] for figure in known if "ci95_identity" in figure]
    return {
        "value": float(np.mean(values)),
        "by_seed": values,
        "ci95_seeds": within(name, t_interval(values)),
        "ci95_identity": np.mean(ends, axis=0).tolist() if len(ends) == len(known) else None,
    }


def t_interval(values: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the mean of independent, normal values (Student 1908)."""
    if len(values) < 2:
        return None
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return [float(np.mean(values) - half), float(np.mean(values) + half)]


def within(name: str, interval: list[float] | None) -> list[float] | None:
    """No further than the figure can go: a share from 0 to 1, a ratio from 1 on."""
    low, high = next((b for key, b in BOUNDS.items() if name.endswith(key)), (0.0, 1.0))
    return interval and [max(low, interval[0]), min(high, interval[1])]


def difference(a: Figures, b: Figures, name: str) -> dict[str, Any] | None:
    """A less B of figures `over_seeds`, paired by seed; None where either lacks it."""
    first, second = a.get(name), b.get(name)
    if first is None or second is None:
        return None
    pairs = zip(first["by_seed"], second["by_seed"], strict=True)
    values = [one - other for one, other in pairs]
    return {"value": float(np.mean(values)), "by_seed": values, "ci95_seeds": t_interval(values)}


SHOWN = ("accuracy", "mean", "std", "ser", "fmr_ratio", "fnmr_ratio")


def kd_effects(cells: Sequence[Cell], found: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """Of each data set, student and loss: with distillation less without. Figures are None where
    one of the two places of the grid is empty; `why_not` says why."""
    by_name = {cell.name: cell for cell in cells}
    rows = []
    for cell in cells:
        if cell.distilled or cell.loss is None:
            continue
        taught = Cell(cell.data, cell.student, cell.loss, True).name
        why_not = cell.why_not or (by_name[taught].why_not if taught in by_name else "")
        both = taught in found and cell.name in found
        rows.append(
            {
                "data": cell.data,
                "student": cell.student,
                "loss": cell.loss,
                "why_not": why_not,
                "less": {
                    name: difference(found[taught], found[cell.name], name) if both else None
                    for name in SHOWN
                },
            }
        )
    return rows


def synthetic_gaps(
    cells: Sequence[Cell], found: Mapping[str, Figures], teacher: Figures, real: str
) -> list[dict[str, Any]]:
    """Of each other data set and student: how far its mean accuracy over the groups is below that
    of real faces (same student, loss and seed) and of the teacher. `real`: the data set of real
    faces alone, or ""."""
    rows = []
    for cell in cells:
        if cell.data == real or cell.name not in found:
            continue
        own = found[cell.name]
        beside = Cell(real, cell.student, cell.loss, cell.distilled).name
        rows.append(
            {
                "data": cell.data,
                "student": cell.student,
                "loss": cell.loss,
                "distilled": cell.distilled,
                "below_real": difference(found[beside], own, "mean") if beside in found else None,
                "below_teacher": _below(teacher, own),
            }
        )
    return rows


def _below(teacher: Figures, own: Figures) -> float | None:
    theirs, ours = teacher.get("mean"), own.get("mean")
    return None if theirs is None or ours is None else float(theirs["value"] - ours["value"])
