"""Report students trained on equally many faces of several sets, side by side.

    facestill training-sets-report [--study NAME]

Writes reports/studies/training-sets.json, and every verification in full below
reports/studies/training-sets/; or those of another study of the same parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eval.attributes.coverage import FaceSet
from eval.benchmarks.base import Protocol
from eval.photos.embedding import Kept
from eval.photos.models import Model, load_model
from eval.photos.verification import Verification, verify_models
from eval.scoring.metrics import people_known
from eval.studies.fair_distillation.report import student_facts
from eval.studies.fair_distillation.spreads import Figures, difference, over_seeds
from eval.studies.training_sets.beside import (
    Stores,
    cost_of,
    drifts,
    faces_of,
    leakage_of,
    quality_of,
)
from eval.studies.training_sets.page import content_of
from eval.suites.running import AbsentError, check_kinds, open_all
from manifests.core import layout
from manifests.core.costs import read_costs, timed
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.settings.params import Params, load_params
from manifests.settings.study import StudyReport, load_study
from manifests.settings.suite import MEAN, find_suite, load_suite
from manifests.studies.training_sets import NAME, Study, check_study, run_of
from train.checkpoint import Student, load_student, read_log

TITLE = "Training sets: one student on each"
TEACHER = "teacher"
FIGURES = ("accuracy", "auc", "eer")

Students = Mapping[str, Mapping[int, Student]]  # {set: {seed: student}}


def load_students(study: Study, of: str = NAME) -> dict[str, dict[int, Student]]:
    """Raises InputError where one is missing, or was trained on other numbers of faces."""
    found = {
        name: {seed: load_student(layout.study_run(of, run_of(name, seed))) for seed in study.seeds}
        for name in study.sets
    }
    seen = study.recipe.faces_seen // study.recipe.batch * study.recipe.batch
    for student in (student for own in found.values() for student in own.values()):
        used = read_log(student)["num_faces"]
        if (student.card.faces_seen, used) != (seen, study.faces):
            raise InputError(
                f"{student.folder}: {student.card.faces_seen} faces seen of {used}, the study says "
                f"{seen} of {study.faces}; run `make study NAME={of}` again"
            )
    return found


def open_suite(
    study: Study, params: Params, of: str = NAME
) -> tuple[dict[str, Protocol], dict[str, str]]:
    """({benchmark: its protocol}, {benchmark that is not here: why}) of the study's suite.

    Raises InputError for one that is broken, and where none is here."""
    path = find_suite(study.suite)
    suite = load_suite(path)
    check_kinds(suite, path)
    here, absent = {}, {}
    for name, found in open_all(suite, Path(study.data).expanduser(), params).items():
        if isinstance(found, AbsentError):
            absent[name] = str(found)
        elif isinstance(found, InputError):
            raise InputError(f"{name}: {found}")
        else:
            here[name] = found[1]
    if not here:
        raise InputError(
            f"{layout.study_params(of)}: suite {study.suite}: nothing of it is here "
            f"({'; '.join(absent.values())}); name the folder of its benchmarks under data"
        )
    return here, absent


def figures_of(found: Verification) -> Figures:
    """Each with its interval over people, where it is known who is who."""
    own, known = found.metrics, people_known(found.metrics)
    return {
        name: {
            "value": own[name],
            **({"ci95_identity": own[f"{name}_ci95_identity"]} if known else {}),
        }
        for name in FIGURES
    }


def verify_all(
    study: str, students: Students, teacher: Model, protocols: Mapping[str, Protocol]
) -> dict[str, dict[str, Any]]:
    """{benchmark: its protocol, and the figures of every run and of the teacher}, on the same
    found faces; every verification in full goes below the study's results."""
    runs = {run_of(name, seed): own for name, by in students.items() for seed, own in by.items()}
    models = {
        **{run: load_model(own.folder.as_posix(), layout.WEIGHTS) for run, own in runs.items()},
        TEACHER: teacher,
    }
    found, kept = {}, Kept.among(protocols.values())
    for name, protocol in protocols.items():
        made = verify_models([*models.values()], protocol, None, kept)
        done = dict(zip(models, made, strict=True))
        digest = protocol.benchmark.protocol_sha256
        for run, verification in done.items():
            verification.write(layout.study_results(study) / digest[:16] / run.replace("/", "-"))
        found[name] = {
            "protocol_sha256": digest,
            "num_pairs": len(done[TEACHER].pairs),
            "figures": {run: figures_of(verification) for run, verification in done.items()},
        }
    return found


def mean_over(boards: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A board of the plain means over these; without an interval over people, whom lists of one
    family share."""
    every = [own["figures"] for own in boards.values()]
    return {
        "protocol_sha256": None,
        "num_pairs": sum(own["num_pairs"] for own in boards.values()),
        "figures": {
            run: {
                name: {"value": float(np.mean([own[run][name]["value"] for own in every]))}
                for name in FIGURES
            }
            for run in every[0]
        },
    }


def benchmark_report(own: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """A leaderboard of the sets, and what a change brought."""
    board = board_of(own, list(study.sets), study.seeds)
    sets = board["sets"]
    return board | {
        "less_before": {
            name: difference(sets[name], sets[chosen.before], "accuracy")
            for name, chosen in study.sets.items()
            if chosen.before is not None
        },
    }


def board_of(own: Mapping[str, Any], names: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Of what `verify_all` found on a benchmark: by set, or whatever else was trained with every
    seed, the figures over the seeds, the best mean first."""
    runs = own["figures"]
    sets = {name: over_seeds([runs[run_of(name, seed)] for seed in seeds]) for name in names}

    def accuracy(name: str) -> float:
        figure = sets[name]["accuracy"]
        assert figure is not None  # every run has one
        return -float(figure["value"])

    order = sorted(sets, key=accuracy)
    return {
        "protocol_sha256": own["protocol_sha256"],
        "num_pairs": own["num_pairs"],
        TEACHER: runs[TEACHER],
        "runs": {run: figures for run, figures in runs.items() if run != TEACHER},
        "order": order,
        "sets": sets,
        "less_first": {
            name: difference(sets[name], sets[order[0]], "accuracy") for name in order[1:]
        },
    }


def all_drifts(study: Study) -> tuple[dict[str, Any], dict[str, str]]:
    """({photographs: by set its drift from them}, {table: digest}), of the sets of which
    attributes were measured."""
    measured = {name: faces_of(name, chosen.rounds) for name, chosen in study.sets.items()}
    sets = {name: faces for name, (faces, _) in measured.items() if faces is not None}
    places = sorted(layout.PHOTOGRAPHS.glob(f"*/{MEASURED}.parquet"))
    found = {
        table.source.name: drifts(FaceSet(table.source.name, (table,)), sets)
        for table in map(AttributeTable.read, places)
    }
    paths = [*places, *(path for _, own in measured.values() for path in own)]
    return found, {path.as_posix(): sha256_file(path) for path in paths}


def report(params: Params, study: Study, of: str = NAME) -> StudyReport:
    students = load_students(study, of)
    protocols, absent = open_suite(study, params, of)
    stores = {name: Stores.of(chosen.rounds) for name, chosen in study.sets.items()}
    drift, tables = all_drifts(study)
    leakage, leaks = leakage_of(map(Path, study.leakage), stores)
    quality, judged = quality_of(layout.quality_report(), stores)
    costs = list(read_costs())
    teacher = load_model(f"{TEACHER}:{params.teacher_text(params.teacher)}", layout.WEIGHTS)
    verified = verify_all(of, students, teacher, protocols)
    sets = {
        name: {
            "rounds": list(chosen.rounds),
            "before": chosen.before,
            "students": [student_facts(own) for own in students[name].values()],
            "drift": {place: own[name] for place, own in drift.items() if name in own},
            "leakage": leakage.get(name),
            "quality": quality.get(name),
            "cost": cost_of(chosen.rounds, stores[name], costs),
        }
        for name, chosen in study.sets.items()
    }
    boards = dict(verified)
    if len(verified) > 1 and not absent and load_suite(find_suite(study.suite)).mean:
        boards[MEAN] = mean_over(verified)
    benchmarks = {name: benchmark_report(own, study) for name, own in boards.items()}
    runs = {own.folder.as_posix(): own for by in students.values() for own in by.values()}
    used = {
        path: root for own in runs.values() for path, root in json.loads(own.card.stores).items()
    }
    return StudyReport(
        study=of,
        params=asdict(study),
        made_from={
            **{path: own.sha256 for path, own in runs.items()},
            teacher.name: teacher.sha256,
            **{f"protocol of {name}": own["protocol_sha256"] for name, own in verified.items()},
            **used, **tables, **leaks, **judged,
        },
        found={"seeds": list(study.seeds), "faces": study.faces, "identities": study.identities,
               "sets": sets, "order": [*benchmarks], "benchmarks": benchmarks},
        not_measured=not_measured(sets, absent),
    )  # fmt: skip


MISSING = {
    "drift": "Drift of {}: attributes of its rounds, or of photographs, are not measured here "
    "(facestill annotate ROUND)",
    "leakage": "Leakage of {}: no report under leakage is of its rounds (facestill leakage ROUND … "
    "--real … --out FILE)",
    "quality": "Quality of the identities of {}: reports/quality.json is of another round "
    "(facestill quality ROUND)",
    "cost": "Cost of {}: a round of it was made elsewhere",
}


def not_measured(sets: Mapping[str, Any], absent: Mapping[str, str]) -> dict[str, str]:
    """{what stands empty: why}."""
    missing = {}
    for kind, text in MISSING.items():
        names = [name for name, own in sets.items() if not own[kind]]
        if names:
            what, _, why = text.format(", ".join(names)).partition(": ")
            missing[what] = why
    return missing | {f"Benchmark {name}": why for name, why in absent.items()}


def section(found: Mapping[str, Any]) -> dict[str, Any]:
    """What page.html.jinja shows."""
    return content_of(found)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--study", default=NAME, help="whose parameters; default: %(default)s")
    name = parser.parse_args().study
    params, study = load_params(), load_study(name, Study)
    check_study(study, name)
    with timed(f"verify@{layout.STUDIES}.{name}"):
        report(params, study, name).write()
    conclude(layout.study_report(name), "every set is measured", "facestill study-page")


if __name__ == "__main__":
    run_command(main)
