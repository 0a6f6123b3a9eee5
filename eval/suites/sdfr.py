"""SDFR (FG 2024): its seven sets, Borda ranking, and the training rules of its two tasks.

How a suite calls it:

    check_task("1", faces_of_run(run))             # refused with the number over the cap
    for place in borda({competitor: {set: figure}}): place.place, place.points, place.tied

What is submitted, an ONNX file as the rules feed it, is eval.suites.sdfr_onnx's.

Sources: arXiv 2404.04580 and the organisers' pages (tasks, sets, Borda count over the ranks on each
set), the devkit (what a model takes and gives). Not known, and left to the caller or chosen here:

- the operating point of IJB-B and IJB-C: a suite says which figure it ranks by.
- how ties are counted: equal figures share the mean of their points, equal totals share a place.
- whether a teacher that saw photographs counts as real data: nothing is refused for its teacher.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from eval.suites.trained_on import TrainingFaces
from manifests.core.errors import InputError, pick

SETS = ("lfw", "cfp-fp", "cplfw", "agedb-30", "calfw", "ijb-b", "ijb-c")
CAP = 1_000_000  # images of task 1
BACKBONE = "iresnet-50"
EMBEDDING_WIDTH = 512


@dataclass(frozen=True)
class Task:
    synthetic: int | None  # images at most; None: as many as one likes
    backbone: str | None  # a student's name; None: any
    embedding_width: int  # of that


TASKS = {"1": Task(CAP, BACKBONE, EMBEDDING_WIDTH), "2": Task(None, None, 0)}


@dataclass(frozen=True)
class Place:
    """A competitor's standing."""

    competitor: str
    ranks: Mapping[str, float]  # by set, 1 is best; the mean rank where figures are equal
    points: float  # Borda's: how many it beats, summed over sets; an equal counts half
    place: int  # 1 is best; equal points share one
    tied: bool  # another competitor has as many points


def borda(figures: Mapping[str, Mapping[str, float]], sets: Sequence[str] = SETS) -> list[Place]:
    """Borda count of {competitor: {set: figure, higher is better}}, best first, ties by name.

    Raises InputError for fewer than two competitors, and for one without a figure of every set: a
    place is one among these competitors on these sets, and no other.
    """
    if len(figures) < 2:
        raise InputError(f"sdfr: {len(figures)} competitors; a Borda count needs at least two")
    names = sorted(figures)
    table = np.array([[_figure(name, figures[name], own) for own in sets] for name in names])
    ranks = rankdata(-table, method="average", axis=0)
    points = (len(names) - ranks).sum(axis=1)
    places = rankdata(-points, method="min").astype(int)
    standing = [
        Place(
            name,
            dict(zip(sets, ranks[row].tolist(), strict=True)),
            float(points[row]),
            int(places[row]),
            int((places == places[row]).sum()) > 1,
        )
        for row, name in enumerate(names)
    ]
    return sorted(standing, key=lambda own: (own.place, own.competitor))


def _figure(name: str, figures: Mapping[str, float], own: str) -> float:
    value = figures.get(own, math.nan)
    if not math.isfinite(value):
        raise InputError(
            f"sdfr: {name} has no figure on {own}; rank those that have all, or name fewer sets"
        )
    return value


def check_task(name: str, faces: TrainingFaces) -> None:
    """Raises InputError, with the number, for a student that the task does not allow."""
    task = pick("task", name, TASKS)
    unknown = f"{faces.unknown:,} faces without a stated source, which may be photographs"
    for forbidden in (faces.of_people, unknown if faces.unknown else ""):
        if forbidden:
            raise InputError(
                f"{faces.run}: trained on {forbidden}; SDFR allows synthetic faces alone"
            )
    if task.synthetic is not None and faces.synthetic_used > task.synthetic:
        over = faces.synthetic_used - task.synthetic
        raise InputError(
            f"{faces.run}: trained on {faces.synthetic_used:,} faces, {over:,} more than the "
            f"{task.synthetic:,} of task {name}; train on fewer, or enter task 2"
        )
    if task.backbone is not None:
        _require_backbone(faces, name, task.backbone, task.embedding_width)


def _require_backbone(faces: TrainingFaces, name: str, backbone: str, embedding: int) -> None:
    """As it is: of its own width, and without a linear layer behind its embedding."""
    card = faces.card
    found = f"{card.name} of width {card.width:g} with embeddings of {card.embedding_width} numbers"
    if card.projected_from:
        found += f" that a linear layer makes of {card.projected_from}"
    wanted = (backbone, 1.0, embedding, 0)
    network = card.name.removesuffix("-dropout")  # which is there in training alone
    if (network, card.width, card.embedding_width, card.projected_from) != wanted:
        raise InputError(
            f"{faces.run}: a {found}; task {name} takes {backbone} of width 1 with embeddings of "
            f"{embedding}, task 2 any"
        )
