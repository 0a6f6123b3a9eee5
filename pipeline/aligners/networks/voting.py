"""From the many overlapping candidates of a detector to faces."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pipeline.aligners.base import NOTHING, Found

ONE_FACE = 0.3  # candidates that overlap the best by more are of the same face
VOTES = 0.5  # and by more than this, they have a say in where it is


def overlap(
    boxes: Float[np.ndarray, "candidate 4"], box: Float[np.ndarray, " 4"]
) -> Float[np.ndarray, " candidate"]:
    """Intersection over union."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    both = np.prod(sides.clip(min=0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return both / (areas + np.prod(box[2:] - box[:2]) - both)


def vote(
    boxes: Float[np.ndarray, "candidate 4"],
    landmarks: Float[np.ndarray, "candidate 5 2"],
    scores: Float[np.ndarray, " candidate"],
    least: float,
) -> Found:
    """The faces of one picture, best first: of candidates above `least` that overlap, one, at
    the mean of those that are close, weighted by score (box voting: Gidaris and Komodakis, ICCV
    2015): a fifth to a third less jitter of the points than the best candidate's own."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > least]
    if not len(order):
        return NOTHING
    faces = []
    while len(order):
        shared = overlap(boxes[order], boxes[order[0]])
        members = order[shared > VOTES]
        weights = scores[members] / scores[members].sum()
        place = [(weights @ each[members].reshape(len(members), -1)) for each in (boxes, landmarks)]
        faces.append((place[0], place[1].reshape(5, 2), scores[order[0]]))
        order = order[~(shared > ONE_FACE) & (np.arange(len(order)) > 0)]
    return Found(*(np.stack(column) for column in zip(*faces, strict=True)))
