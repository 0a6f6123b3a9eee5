"""Pairs of photographs that a student gets wrong: which they are, and their pictures.

Only photographs that the user brought are ever shown; those of a benchmark that comes with
Facestill never are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from jaxtyping import Bool, Int, UInt8

from eval.benchmarks.base import Protocol
from eval.photos.photo_sets import face_picture
from eval.reporting.pictures import strip
from eval.scoring.roc import ROUNDING, roc
from eval.scoring.scored import ScoredPairs
from manifests.core.errors import InputError

NUM_SHOWN = 12


@dataclass(frozen=True)
class Mistake:
    """A pair on the wrong side of the student's threshold."""

    left: str
    right: str
    score: float
    teacher_too: bool  # the teacher errs on it at its own threshold
    failed: bool  # a face was not detected


@dataclass(frozen=True)
class Mistakes:
    """Of one student on one benchmark, the worst first; thresholds are those of equal errors."""

    threshold: float
    num_false_matches: int
    num_false_non_matches: int
    false_matches: list[Mistake]
    false_non_matches: list[Mistake]


def equal_error_threshold(pairs: ScoredPairs) -> float:
    """The highest threshold at which no more genuine pairs are rejected than impostors pass."""
    curve = roc(pairs.score, pairs.same)
    return float(curve.threshold[int(np.argmax(1.0 - curve.tar <= curve.far + ROUNDING))])


def wrong(pairs: ScoredPairs) -> Bool[np.ndarray, " pair"]:
    """Which pairs lie on the wrong side of the threshold of equal errors."""
    return (pairs.score > equal_error_threshold(pairs)) != pairs.same


def find_mistakes(student: ScoredPairs, teacher: ScoredPairs, count: int = NUM_SHOWN) -> Mistakes:
    """The student's worst mistakes, at most `count` of a kind. Raises InputError for scores of
    unlike pairs."""
    if (student.left, student.right) != (teacher.left, teacher.right):
        raise InputError("the scores of student and teacher are of unlike pairs; verify again")
    errs, teacher_errs = wrong(student), wrong(teacher)

    def listed(rows: Int[np.ndarray, " pair"]) -> list[Mistake]:
        return [
            Mistake(
                student.left[row],
                student.right[row],
                float(student.score[row]),
                bool(teacher_errs[row]),
                bool(student.failed[row]),
            )
            for row in rows[:count].tolist()
        ]

    rising = np.argsort(student.score, kind="stable")
    matches = rising[::-1][(errs & ~student.same)[rising[::-1]]]
    non_matches = rising[(errs & student.same)[rising]]
    return Mistakes(
        equal_error_threshold(student),
        len(matches),
        len(non_matches),
        listed(matches),
        listed(non_matches),
    )


def mistake_strips(protocol: Protocol, mistakes: Sequence[Mistake]) -> list[str]:
    """Both faces of each pair side by side (a data URI), cut as the models see them."""

    @cache
    def face(name: str) -> UInt8[np.ndarray, "size size 3"]:
        return face_picture(protocol.images, name, partial(protocol.find, [name]))

    return [strip(np.stack([face(pair.left), face(pair.right)]), 2) for pair in mistakes]
