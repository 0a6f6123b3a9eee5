"""Report every student of the grid on groups of people.

    facestill fair-distillation-report

Writes reports/studies/fair-distillation.json, and the scores of every student on every benchmark
below reports/studies/fair-distillation/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.benchmarks.base import Protocol
from eval.photos.models import Model, load_model
from eval.studies.fair_distillation.group_verification import (
    PAIRS,
    RFW,
    measure,
    open_all,
    photographs_of,
)
from eval.studies.fair_distillation.page import content_of
from eval.studies.fair_distillation.people_groups import GroupedPairs, table_path
from eval.studies.fair_distillation.spreads import Figures, kd_effects, over_seeds, synthetic_gaps
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.settings.params import Params, load_params
from manifests.settings.real_faces import ROUND
from manifests.settings.study import StudyReport, load_study
from manifests.studies.fair_distillation import (
    NAME,
    NO_FOLDER,
    Cell,
    Study,
    check_study,
    expand,
)
from train.checkpoint import Student, load_student, read_log

TITLE = "Fair distillation: data, students, losses, and what a teacher adds"
TEACHER = "teacher"
NO_RFW = "no folder is named under fairness: rfw; groups are of what was measured on photographs"
NO_PAIRS = "no folder of photographs is named under verify: pairs in params.yaml"

Students = Mapping[str, Mapping[int, Student]]  # {place of the grid: {seed: student}}


def load_students(cells: Sequence[Cell], study: Study) -> dict[str, dict[int, Student]]:
    """Every student of the grid, of equally many faces seen.

    Raises InputError where one is missing, or was trained by another recipe.
    """
    found = {
        cell.name: {
            seed: load_student(layout.study_run(NAME, cell.run(seed))) for seed in study.seeds
        }
        for cell in cells
        if cell.why_not is None
    }
    wanted = study.recipe.faces_seen // study.recipe.batch * study.recipe.batch
    for students in found.values():
        for student in students.values():
            if student.card.faces_seen != wanted:
                raise InputError(
                    f"{student.folder}: {student.card.faces_seen} faces seen, the others {wanted}; "
                    f"run `make study NAME={NAME}` again"
                )
    return found


def student_facts(student: Student) -> dict[str, Any]:
    """What a student is and was made from, for whoever doubts a figure."""
    log = read_log(student)
    return {
        "run_dir": student.folder.as_posix(),
        "sha256": student.sha256,
        "training": student.card.training,
        "num_params": log["student"]["num_params"],
        "faces_seen": student.card.faces_seen,
        "rounds": log["params"]["chosen"]["rounds"],
        "rows_sha256": log["params"]["chosen"]["rows_sha256"],
        "train_seconds": log["train_seconds"],
    }


def benchmark_report(
    name: str,
    protocol: Protocol,
    grouped: GroupedPairs,
    found: Mapping[str, Figures],
    study: Study,
    grid: Sequence[Cell],
) -> dict[str, Any]:
    """A benchmark's part of the report: by place of the grid, over its seeds."""
    cells = {
        cell.name: over_seeds([found[cell.run(seed)] for seed in study.seeds])
        for cell in grid
        if cell.why_not is None
    }
    return {
        "protocol_sha256": protocol.benchmark.protocol_sha256,
        "groups_sha256": grouped.benchmark.protocol_sha256,
        "basis": grouped.basis,
        "fmr": study.fairness.fmr[name],
        "groups": [
            {
                "title": title,
                "genuine": grouped.count(title, same=True),
                "impostors": grouped.count(title, same=False),
            }
            for title in grouped.titles
        ],
        TEACHER: found[TEACHER],
        "runs": {run: own for run, own in found.items() if run != TEACHER},
        "cells": cells,
        "kd": kd_effects(grid, cells),
        "gaps": synthetic_gaps(grid, cells, found[TEACHER], only_real(study)),
    }


def only_real(study: Study) -> str:
    """The data set of real faces alone; "" where the study has none."""
    names = (name for name, data in study.data.items() if data.rounds == [ROUND])
    return next(names, "")


def report(params: Params, study: Study) -> StudyReport:
    grid = expand(study, real_faces=params.real_faces.allow)
    students = load_students(grid, study)
    protocols = open_all(params, study.fairness)
    models = {
        cell.run(seed): load_model(student.folder.as_posix(), layout.WEIGHTS)
        for cell in grid
        for seed, student in students.get(cell.name, {}).items()
    }
    models[TEACHER] = load_model(f"{TEACHER}:{params.teacher_text(params.teacher)}", layout.WEIGHTS)
    out = layout.study_results(NAME)
    measured = {
        name: benchmark_report(
            name, *both, measure(name, *both, models, study.fairness, out), study, grid
        )
        for name, both in protocols.items()
    }
    facts = [
        {
            "name": cell.name,
            "data": cell.data,
            "student": cell.student,
            "loss": cell.loss,
            "distilled": cell.distilled,
            "why_not": cell.why_not,
            "students": [student_facts(own) for own in students.get(cell.name, {}).values()],
        }
        for cell in grid
    ]
    return StudyReport(
        study=NAME,
        params=asdict(study) | {"real_faces": asdict(params.real_faces)},
        made_from=made_from(students, measured, models[TEACHER], params),
        found={"seeds": list(study.seeds), "grid": facts, "benchmarks": measured},
        not_measured=not_measured(grid, params, measured),
    )


def made_from(
    students: Students, measured: Mapping[str, Any], teacher: Model, params: Params
) -> dict[str, str]:
    """The digest of every run, store, table and protocol behind the figures."""
    every = [student for own in students.values() for student in own.values()]
    digests = {student.folder.as_posix(): student.sha256 for student in every}
    for student in every:
        digests |= json.loads(student.card.stores)
    for name, own in measured.items():
        digests |= {
            f"protocol of {name}": own["protocol_sha256"],
            f"groups of {name}": own["groups_sha256"],
        }
        path = Path(table_path(photographs_of(name, params)))
        if name != RFW:
            digests[path.as_posix()] = sha256_file(path)
    return {**digests, teacher.name: teacher.sha256}


def not_measured(
    grid: Sequence[Cell], params: Params, measured: Mapping[str, Any]
) -> dict[str, str]:
    """{what the paper has: why it is not here}."""
    missing = {}
    if not params.real_faces.allow:
        missing["Students trained on real faces, and the gap to them"] = NO_FOLDER
    reasons = {cell.data: cell.why_not for cell in grid if cell.why_not not in (None, NO_FOLDER)}
    for data, reason in reasons.items():
        missing[f"{data} without a teacher"] = str(reason)
    if RFW not in measured:
        missing["RFW's four groups"] = NO_RFW
    if PAIRS not in measured:
        missing["Photograph pairs of your own"] = NO_PAIRS
    return missing


def section(found: Mapping[str, Any]) -> dict[str, Any]:
    """What page.html.jinja shows."""
    return content_of(found)


def main() -> None:
    Parser(__doc__).parse_args()
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    with timed(f"verify@{layout.STUDIES}.{NAME}"):
        report(params, study).write()
    conclude(layout.study_report(NAME), "every arm is measured", "facestill study-page")


if __name__ == "__main__":
    run_command(main)
