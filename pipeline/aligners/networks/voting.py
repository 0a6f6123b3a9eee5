"""From the many overlapping candidates of a detector to faces, of all pictures at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from pipeline.aligners.base import Found

ONE_FACE = 0.3  # candidates that overlap the best by more are of the same face
VOTES = 0.5  # and by more than this, they have a say in where it is
Owners = Int[np.ndarray, " _"]  # the picture of each face, ascending


def overlap(
    boxes: Float[np.ndarray, "candidate 4"], others: Float[np.ndarray, "*candidates 4"]
) -> Float[np.ndarray, " candidate"]:
    """Intersection over union with one box, or row by row."""
    sides = np.minimum(boxes[:, 2:], others[..., 2:]) - np.maximum(boxes[:, :2], others[..., :2])
    both = np.prod(sides.clip(min=0), axis=1)
    areas = [np.prod(each[..., 2:] - each[..., :2], axis=-1) for each in (boxes, others)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-9)


def vote(
    candidates: Float[np.ndarray, "picture candidate 15"], least: float
) -> tuple[Owners, Found]:
    """The faces of each picture, best first: of candidates (score, box, five points) above
    `least` that overlap, one, at the mean of those that are close, weighted by score (box voting:
    Gidaris and Komodakis, ICCV 2015). It makes points jitter less than the best candidate's own
    do (docs/log/faces.md). A picture's faces are the same bits in any company."""
    owners, places = np.nonzero(candidates[:, :, 0] > least)
    rows = candidates[owners, places].astype(np.float64)
    order = np.lexsort((-rows[:, 0], owners))
    owners, rows = owners[order], rows[order]
    faces, of = [np.empty((0, 15))], [owners[:0]]
    while len(owners):  # a face of every picture that has one left
        best = np.flatnonzero(np.diff(owners, prepend=-1))
        shared = overlap(
            rows[:, 1:5], np.repeat(rows[best, 1:5], np.diff(best, append=len(rows)), 0)
        )
        weights = np.where(shared > VOTES, rows[:, 0], 0.0)
        weights[best] = rows[best, 0]
        sums = np.add.reduceat(weights[:, None] * rows[:, 1:], best)
        place = sums / np.add.reduceat(weights, best)[:, None]
        faces.append(np.column_stack([rows[best, 0], place]))
        of.append(owners[best])
        left = ~(shared > ONE_FACE)
        left[best] = False
        owners, rows = owners[left], rows[left]
    order = np.argsort(np.concatenate(of), kind="stable")
    found = np.concatenate(faces)[order]
    points = found[:, 5:].reshape(-1, 5, 2)
    return np.concatenate(of)[order], Found(found[:, 1:5], points, found[:, 0])


def with_others(faces: Found, more: Found) -> Found:
    """Faces of a picture, and those that a further look at it finds beside them."""
    new = np.array([(overlap(faces.boxes, box) <= ONE_FACE).all() for box in more.boxes], bool)
    more = more.kept(new)
    parts = ("boxes", "landmarks", "scores")
    return Found(*(np.concatenate([getattr(faces, p), getattr(more, p)]) for p in parts))
