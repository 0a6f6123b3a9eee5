"""Report the students on frozen photographs, side by side.

    facestill usynthface-report

Writes reports/studies/usynthface.json, and every verification in full below
reports/studies/usynthface/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.benchmarks import open_protocols
from eval.photos.models import load_model
from eval.photos.verification import verify_models
from eval.reporting.style import MUTED, STUDENT, bare, canvas, data_uri, name_rows
from eval.scoring.results import Result, check_same_pairs, paired, read_result
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import read_json
from manifests.settings.params import Params, load_params
from manifests.settings.study import StudyReport, load_study
from manifests.studies.usynthface import Study
from train.checkpoint import LOG, Student, load_student

NAME = "usynthface"
TITLE = "USynthFace: students without a teacher"
UNTRAINED, DISTILLED = "untrained", "distilled"
ARMS = {
    UNTRAINED: "Untrained",
    "augmentation": "USynthFace, two views of a face",
    "identities": "USynthFace, two faces of an identity",
    DISTILLED: "Distilled",
}
CHANCE = 0.5
ROW_HEIGHT, MARGIN = 0.36, 0.85  # inches
PAIRS = "pairs"
SHOWN = ("accuracy", "accuracy_facexzoo", "auc", "eer", "tar_at_far", "num_pairs", "num_subjects")
INTERVALS = ("accuracy_ci95", "accuracy_ci95_identity", "auc_ci95_identity", "eer_ci95_identity")
NO_FOLDER = "no folder of photographs is named under verify: pairs in params.yaml"


def load_arms() -> dict[str, Student]:
    """The students, of one size and, where they learnt, of equally many faces seen.

    Raises InputError where one is missing or they cannot be set side by side.
    """
    students = {arm: load_student(layout.study_run(NAME, arm)) for arm in ARMS}
    size_of = {arm: (own.card.name, own.card.width, own.card.embedding_width, own.card.input_size)
               for arm, own in students.items()}  # fmt: skip
    seen = {arm: own.card.faces_seen for arm, own in students.items() if arm != UNTRAINED}
    for what, values in (("sizes", size_of), ("numbers of faces seen", seen)):
        if len({*values.values()}) > 1:
            raise InputError(
                f"{layout.study_run(NAME, '*')}: students of unlike {what}, {values}; run "
                f"`make study NAME={NAME}` again"
            )
    return students


def arm_facts(arm: str, student: Student) -> dict[str, Any]:
    """What an arm is and was made from, for whoever doubts a figure."""
    log = read_json(student.folder / LOG)
    return {
        "run_dir": student.folder.as_posix(),
        "sha256": student.sha256,
        "training": student.card.training,
        "faces_seen": student.card.faces_seen,
        "num_params": log["student"]["num_params"],
        "num_faces": log["num_faces"],
        "num_with_identity": log.get("num_with_identity", 0),
        "train_seconds": log["train_seconds"],
        "history": log["history"],
    }


def measured(benchmark: str, params: Params) -> dict[str, Any]:
    """Every arm's figures on one protocol, and its differences from the two ends, paired."""
    results = {arm: read_result(layout.study_results(NAME) / benchmark / arm) for arm in ARMS}
    check_same_pairs(list(results.values()))
    arms = {arm: figures(result) for arm, result in results.items()}
    return {
        "protocol_sha256": results[UNTRAINED].protocol,
        "arms": arms,
        "less_untrained": differences(results, UNTRAINED),
        "less_distilled": differences(results, DISTILLED),
        "apart": {arm: apart(own, arms[UNTRAINED]) for arm, own in arms.items()},
    }


def figures(result: Result) -> dict[str, Any]:
    return {name: result.figures[name] for name in (*SHOWN, *INTERVALS)}


def differences(results: Mapping[str, Result], other: str) -> dict[str, Any]:
    """{arm: its figures less those of `other`, over the same resampled people}."""
    return {
        arm: paired(result, results[other])["difference"]
        for arm, result in results.items()
        if arm != other
    }


def apart(own: Mapping[str, Any], untrained: Mapping[str, Any]) -> dict[str, bool]:
    """Whether intervals over people lie wholly above chance, and above the untrained network's."""
    names = ("accuracy_ci95_identity", "auc_ci95_identity")
    return {
        "above_chance": all(own[name][0] > CHANCE for name in names),
        "accuracy_above_untrained": own[names[0]][0] > untrained[names[0]][1],
        "auc_above_untrained": own[names[1]][0] > untrained[names[1]][1],
    }


def verify_arms(students: Mapping[str, Student], params: Params) -> list[str]:
    """Measures all students on the same found faces; returns the benchmarks' names."""
    protocols = open_protocols(params)
    models = [load_model(own.folder.as_posix(), layout.WEIGHTS) for own in students.values()]
    for name, protocol in protocols.items():
        done = verify_models(models, protocol)
        for arm, verification in zip(students, done, strict=True):
            verification.write(layout.study_results(NAME) / name / arm)
    return list(protocols)


def report(params: Params, study: Study) -> StudyReport:
    students = load_arms()
    names = verify_arms(students, params)
    benchmarks = {name: measured(name, params) for name in names}
    arms = {arm: arm_facts(arm, student) for arm, student in students.items()}
    stores = {
        path: root
        for student in students.values()
        for path, root in json.loads(student.card.stores).items()
    }
    protocols = {f"protocol of {name}": own["protocol_sha256"] for name, own in benchmarks.items()}
    runs = {facts["run_dir"]: facts["sha256"] for facts in arms.values()}
    return StudyReport(
        study=NAME,
        params=asdict(study),
        made_from=runs | protocols | stores,
        found={"arms": arms, "benchmarks": benchmarks},
        not_measured={} if PAIRS in names else {"Photograph pairs of your own": NO_FOLDER},
    )


def section(found: Mapping[str, Any]) -> dict[str, Any]:
    """What page.html.jinja shows."""
    rows = [(arm, name, found["arms"][arm]) for arm, name in ARMS.items()]
    images = {
        name: data_uri(arms_figure({shown: own["arms"][arm] for arm, shown in ARMS.items()}))
        for name, own in found["benchmarks"].items()
    }
    return {"rows": rows, "benchmarks": found["benchmarks"], "images": images, "fars": fars(found)}


def arms_figure(arms: Mapping[str, Mapping[str, Any]]) -> Figure:
    """`arms`: {name: figures of metrics.json}, the first on top; chance is at the left."""
    figure = canvas(MARGIN + ROW_HEIGHT * len(arms))
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(bare(left, "10-fold accuracy"), arms, "accuracy")
    _draw(bare(right, "area under the ROC curve"), arms, "auc")
    left.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    name_rows(left, list(arms))
    return figure


def _draw(axes: Axes, arms: Mapping[str, Mapping[str, Any]], name: str) -> None:
    heights = np.arange(len(arms))
    ends = np.array([own[f"{name}_ci95_identity"] for own in arms.values()])
    axes.hlines(heights, ends[:, 0], ends[:, 1], color=STUDENT, linewidth=2)
    axes.plot([own[name] for own in arms.values()], heights, "o", color=STUDENT, markersize=6)
    axes.axvline(CHANCE, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_xlim(min(0.48, float(ends.min()) - 0.01), 1.0)


def fars(found: Mapping[str, Any]) -> Sequence[str]:
    """The false accept rates that some benchmark has enough impostors for."""
    tables = [own["arms"][UNTRAINED]["tar_at_far"] for own in found["benchmarks"].values()]
    every = sorted({far for table in tables for far in table}, key=float, reverse=True)
    return [far for far in every if any(table.get(far) is not None for table in tables)]


def main() -> None:
    Parser(__doc__).parse_args()
    with timed(f"verify@{layout.STUDIES}.{NAME}"):
        report(load_params(), load_study(NAME, Study)).write()
    conclude(layout.study_report(NAME), "every arm is measured", "facestill study-page")


if __name__ == "__main__":
    run_command(main)
