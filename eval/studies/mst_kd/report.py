"""Report students of specialised, balanced and single teachers, side by side.

    facestill mst-kd-report

Writes reports/studies/mst-kd.json, and every verification in full below reports/studies/mst-kd/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eval.photos.models import load_model
from eval.studies.fair_distillation.group_verification import measure, open_all
from eval.studies.fair_distillation.spreads import difference, over_seeds
from eval.studies.multi_step.page import content_of
from eval.studies.multi_step.report import Arms, report_of
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import Parser, conclude, run_command
from manifests.settings.objectives import BALANCED
from manifests.settings.params import Params, load_params
from manifests.settings.study import StudyReport, load_study
from manifests.studies.mst_kd import (
    ARMS,
    NAME,
    NO_KD,
    SINGLE,
    SPECIALISED,
    UNLABELLED,
    Study,
    check_study,
    teachers_of,
)
from manifests.studies.multi_step import STUDENTS, TEACHERS, run_of

TITLE = "MST-KD: specialised teachers, fused into one"
PAIRS = (
    (f"{SPECIALISED}-kd", f"{BALANCED}-kd"),
    (f"{SPECIALISED}-kd", f"{SINGLE}-kd"),
    (f"{SPECIALISED}-kd", UNLABELLED),
    (f"{SINGLE}-kd", NO_KD),
)
BIAS = ("mean", "std", "ser")  # of the accuracy over groups of people


def biases(params: Params, study: Study) -> dict[str, Any]:
    """{benchmark: what its groups are, and by arm the mean, STD and SER over them}."""
    roles = {**dict.fromkeys(ARMS, STUDENTS), **dict.fromkeys(teachers_of(study), TEACHERS)}
    models = {
        f"{arm}-{seed}": load_model(
            layout.study_run(NAME, run_of(role, arm, seed)).as_posix(), layout.WEIGHTS
        )
        for arm, role in roles.items()
        for seed in study.seeds
    }
    found = {}
    for name, both in open_all(params, study.fairness).items():
        runs = measure(name, *both, models, study.fairness, layout.study_results(NAME) / "groups")
        own = {arm: over_seeds([runs[f"{arm}-{seed}"] for seed in study.seeds]) for arm in roles}
        found[name] = {
            "basis": both[1].basis,
            "groups_sha256": both[1].benchmark.protocol_sha256,
            "arms": {arm: {each: figures[each] for each in BIAS} for arm, figures in own.items()},
            "compared": [
                {"arm": arm, "other": other, "less": difference(own[arm], own[other], "std")}
                for arm, other in PAIRS
            ],
        }
    return found


def report(params: Params, study: Study) -> StudyReport:
    arms = Arms(NAME, ARMS, tuple(teachers_of(study)), PAIRS)
    found, bias = report_of(arms, params, study), biases(params, study)
    groups = {f"groups of {name}": own["groups_sha256"] for name, own in bias.items()}
    return replace(
        found,
        made_from={**found.made_from, **groups},
        found={**found.found, "by": study.groups.by, "parts": study.groups.parts, "bias": bias},
    )


def section(found: Mapping[str, Any]) -> dict[str, Any]:
    """What page.html.jinja shows."""
    kept = {key: found[key] for key in ("by", "parts", "bias")}
    return content_of(found) | kept


def main() -> None:
    Parser(__doc__).parse_args()
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    with timed(f"verify@{layout.STUDIES}.{NAME}"):
        report(params, study).write()
    conclude(layout.study_report(NAME), "every arm is measured", "facestill study-page")


if __name__ == "__main__":
    run_command(main)
