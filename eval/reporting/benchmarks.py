"""What `facestill verify` found of the student and its teacher, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.scoring.folds import insightface_accuracy
from eval.scoring.intervals import PairSubjects, identity_bootstrap
from eval.scoring.metrics import PLACE, people_known, verification_statistic
from eval.scoring.results import difference
from eval.scoring.scored import ScoredPairs, read_scores
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json

ORL, PAIRS = "orl", "pairs"
ROLES = ("student", "teacher")
METRICS = (
    "accuracy", "accuracy_ci95", "accuracy_ci95_identity", "accuracy_std", "accuracy_by_fold",
    "auc", "eer", "tar_at_far", "rank_1", "num_pairs", "num_subjects", "subject_rule",
    "num_failed", "protocol_sha256",
)  # fmt: skip
Figures = Mapping[str, Any]  # of one model
Benchmarks = Mapping[str, Mapping[str, Figures]]  # benchmark, role


def read_benchmarks(
    student_sha256: str, asked: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """{benchmark: {role: figures}}; `pairs` only where it was measured. One that is not among
    those asked for, and is of another student, is left out: an earlier run left it there.

    Raises InputError for figures of another student, or of two unlike protocols.
    """
    found = {}
    for name in (ORL, PAIRS):
        folder = layout.verification(name, ROLES[0]).parent
        if name == PAIRS and not folder.exists():
            continue
        files = {role: layout.verification(name, role) / "metrics.json" for role in ROLES}
        metrics = {role: read_json(path) for role, path in files.items()}
        measured = metrics["student"]["model_sha256"]
        if measured != student_sha256 and name not in asked:
            continue
        if measured != student_sha256:
            raise InputError(
                f"{folder}: measured on student {measured[:12]}, the student at hand is "
                f"{student_sha256[:12]}; run verify again"
            )
        if len({metrics[role]["protocol_sha256"] for role in ROLES}) > 1:
            raise InputError(f"{folder}: student and teacher were measured on unlike protocols")
        if metrics["student"]["accuracy"] is None:
            raise InputError(
                f"{folder}: its pairs are in one fold, which leaves no other to choose a threshold "
                "on; give two or more in pairs.csv, and run verify again"
            )
        found[name] = {
            role: {key: metrics[role][key] for key in METRICS if key in metrics[role]}
            for role in ROLES
        }
    return found


def interval_of(figures: Figures) -> tuple[float, float]:
    """The 95 % interval of an accuracy that may be quoted: over people where they are known."""
    low, high = figures["accuracy_ci95_identity" if people_known(figures) else "accuracy_ci95"]
    return low, high


def drawn_over(figures: Figures) -> str:
    """What its intervals are over, in words."""
    if people_known(figures):
        return f"over {figures['num_subjects']:,} people"
    return "over pairs as if independent"


def subjects_of(pairs: ScoredPairs, rule: str) -> PairSubjects:
    """Who is drawn anew in an interval: the people, or every pair where nobody knows them or they
    are too few."""
    people = pairs.subjects(rule)
    if people_known({"subject_rule": rule, "num_subjects": people.count}):
        return people
    each = np.arange(len(pairs))
    return PairSubjects(each, each, len(pairs))


def behind_teacher(folder: Path) -> dict[str, Any]:
    """The teacher's accuracy less the student's on the same pairs: {value, ci95}, both models'
    from the same people drawn anew. `folder` holds a result of either."""
    statistics = []
    for role in reversed(ROLES):
        pairs, facts = read_scores(folder / role / "scores.parquet")
        right = insightface_accuracy(pairs.score, pairs.same, pairs.fold, facts["metric"]).correct
        statistics.append(verification_statistic(pairs, right))
    subjects = subjects_of(pairs, facts.get("subject_rule", "image"))
    resampled = identity_bootstrap(difference(*statistics), subjects)
    place = PLACE["accuracy"]
    return {"value": float(resampled.point[place]), "ci95": list(resampled.interval(place))}
