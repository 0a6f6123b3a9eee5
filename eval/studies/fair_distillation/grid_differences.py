"""What distillation does to a student, and to the gap between real and synthetic training faces.

Differences are paired by seed: both students began with the same random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.studies.fair_distillation.spreads import Figures, difference
from manifests.studies.fair_distillation import Cell

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
