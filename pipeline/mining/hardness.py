"""How hard a single face is for the student, by a measure of choice; larger is harder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from manifests.core.errors import InputError
from manifests.records.gaps import GapTable


def gap(table: GapTable) -> Float[np.ndarray, " face"]:
    """1 - cosine to the teacher, the mean of both views: 0..2."""
    return (table.gap.astype(np.float64) + table.flip_gap) / 2


def margin(table: GapTable) -> Float[np.ndarray, " face"]:
    """How near the student comes to taking the face for another one: 1 where the nearest other
    face is as near as its own teacher embedding, above 1 where it is nearer."""
    return np.maximum(1.0 - table.impostor_margin.astype(np.float64), 0.0)


def neighbours(table: GapTable) -> Float[np.ndarray, " face"]:
    """Share of the teacher's nearest neighbours that are none of the student's: 0..1."""
    if not np.isfinite(table.neighbour_disagreement).all():
        raise InputError("mine.hardness neighbours: an older gap table; run gap again")
    return table.neighbour_disagreement.astype(np.float64)


HARDNESS: dict[str, Callable[[GapTable], np.ndarray]] = {
    "gap": gap,
    "margin": margin,
    "neighbours": neighbours,
}
