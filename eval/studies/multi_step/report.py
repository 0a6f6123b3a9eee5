"""Report students taught step by step, at one go and not at all.

    facestill multi-step-report

Writes reports/studies/multi-step.json, and every verification in full below
reports/studies/multi-step/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.benchmarks import open_protocols
from eval.photos.models import load_model
from eval.studies.fair_distillation.report import NO_PAIRS, student_facts
from eval.studies.fair_distillation.spreads import difference
from eval.studies.multi_step.page import content_of
from eval.studies.training_sets.report import Students, board_of, verify_all
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.settings.params import Params, load_params
from manifests.settings.study import StudyReport, load_study
from manifests.studies.multi_step import (
    ARMS,
    MULTI_STEP,
    NAME,
    NO_KD,
    SINGLE_STEP,
    STUDENTS,
    TEACHER,
    TEACHERS,
    Study,
    check_study,
    run_of,
)
from train.checkpoint import Student, load_student

TITLE = "Multi-step distillation: a student follows its teacher's own training"


@dataclass(frozen=True)
class Arms:
    """What a study trained with every seed, and which differences it is about."""

    study: str
    students: Sequence[str]
    teachers: Sequence[str]
    compared: Sequence[tuple[str, str]]  # the first less the second


def load_arms(arms: Arms, seeds: Sequence[int]) -> dict[str, dict[int, Student]]:
    """{arm: {seed: student or teacher}}. Raises InputError where one is missing, or where students
    saw unlike numbers of faces."""
    roles = {**dict.fromkeys(arms.students, STUDENTS), **dict.fromkeys(arms.teachers, TEACHERS)}
    found = {
        arm: {
            seed: load_student(layout.study_run(arms.study, run_of(role, arm, seed)))
            for seed in seeds
        }
        for arm, role in roles.items()
    }
    seen = {
        f"{arm}/{seed}": own.card.faces_seen
        for arm in arms.students
        for seed, own in found[arm].items()
    }
    if len({*seen.values()}) > 1:
        raise InputError(
            f"{layout.study_run(arms.study, '*')}: students that saw unlike numbers of faces, "
            f"{seen}; run `make study NAME={arms.study}` again"
        )
    return found


def report_of(arms: Arms, params: Params, study: Study) -> StudyReport:
    """Students and the teachers that were trained for them, on the same photographs."""
    trained: Students = load_arms(arms, study.seeds)
    measured = load_model(f"{TEACHER}:{params.teacher_text(params.teacher)}", layout.WEIGHTS)
    verified = verify_all(arms.study, trained, measured, open_protocols(params))
    runs = [own for by in trained.values() for own in by.values()]
    stores = {path: root for own in runs for path, root in json.loads(own.card.stores).items()}
    return StudyReport(
        study=arms.study,
        params=asdict(study),
        made_from={
            **{own.folder.as_posix(): own.sha256 for own in runs},
            measured.name: measured.sha256,
            **{f"protocol of {name}": own["protocol_sha256"] for name, own in verified.items()},
            **stores,
        },
        found={
            "seeds": list(study.seeds),
            "students": list(arms.students),
            "arms": {arm: [student_facts(own) for own in by.values()]
                     for arm, by in trained.items()},
            "benchmarks": {name: benchmark_report(own, arms, study.seeds)
                           for name, own in verified.items()},
        },
        not_measured={} if "pairs" in verified else {"Photograph pairs of your own": NO_PAIRS},
    )  # fmt: skip


def benchmark_report(own: Mapping[str, Any], arms: Arms, seeds: Sequence[int]) -> dict[str, Any]:
    """A leaderboard of students and teachers, and the differences that are asked for."""
    board = board_of(own, [*arms.students, *arms.teachers], seeds)
    sets = board["sets"]
    compared = [
        {"arm": arm, "other": other, "less": difference(sets[arm], sets[other], "accuracy")}
        for arm, other in arms.compared
    ]
    return board | {"compared": compared}


PAIRS = ((SINGLE_STEP, NO_KD), (MULTI_STEP, NO_KD), (MULTI_STEP, SINGLE_STEP))


def section(found: Mapping[str, Any]) -> dict[str, Any]:
    """What page.html.jinja shows."""
    return content_of(found)


def main() -> None:
    Parser(__doc__).parse_args()
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    with timed(f"verify@{layout.STUDIES}.{NAME}"):
        report_of(Arms(NAME, ARMS, (TEACHER,), PAIRS), params, study).write()
    conclude(layout.study_report(NAME), "every arm is measured", "facestill study-page")


if __name__ == "__main__":
    run_command(main)
