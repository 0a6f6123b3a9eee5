"""Report whether a learnt quality finds bad photographs, and helps to train.

    facestill cr-fiqa-report

Writes reports/studies/cr-fiqa.json, and verifications of the distilled students in full below
reports/studies/cr-fiqa/.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from eval.benchmarks import open_protocols
from eval.benchmarks.base import Protocol
from eval.photos.models import Model, load_model
from eval.photos.rating import (
    SeenPhotographs,
    look_at,
    rating_model,
    rating_sha256,
)
from eval.photos.verification import verify_models
from eval.scoring.discarding import pair_quality
from eval.scoring.results import Result, read_result
from eval.studies.cr_fiqa.figures import rated_faces
from eval.studies.cr_fiqa.page import content_of
from eval.studies.cr_fiqa.rated_pairs import all_pairs, compare_qualities, sharpness_model
from eval.studies.cr_fiqa.seed_effects import effects
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import Parser, conclude, pick, run_command
from manifests.core.files import read_json, write_json
from manifests.settings.params import Params, load_params
from manifests.settings.study import StudyReport, load_study
from manifests.studies.cr_fiqa import Study
from train.checkpoint import LOG, RatedStudent, load_quality, load_student

NAME = "cr-fiqa"
TITLE = "CR-FIQA: the quality of a face, learnt beside identities"
BACKBONE, OWN = "backbone", "joint"
RATED = (OWN, "on-top", "joint-released", "joint-ccs", "taught")
STUDENTS = ("plain", "weighted", "quarantined", "random")
PAIRS = "pairs"
NO_FOLDER = "no folder of photographs is named under verify: pairs in params.yaml"
FACES = layout.study_results(NAME) / "faces.json"
QUALITIES = layout.study_data(NAME) / "qualities"
Qualities = dict[str, list[Float[np.ndarray, " image"]]]  # draws of each, by name


def section(found: Mapping[str, Any]) -> dict[str, Any]:
    """What its template shows."""
    return content_of(found, read_json(FACES) if FACES.exists() else {})


def load_rated() -> dict[str, RatedStudent]:
    return {arm: load_quality(layout.study_run(NAME, arm)) for arm in RATED}


def recognisers(params: Params, study: Study) -> dict[str, Model]:
    """Networks that recognise, none of which rates."""
    texts = {
        "teacher": f"teacher:{params.teacher_text(params.teacher)}",
        "student": layout.run(study.curves.student).as_posix(),
    }
    return {role: load_model(text, layout.WEIGHTS) for role, text in texts.items()}


def qualities_of(seen: SeenPhotographs, study: Study) -> Qualities:
    """Of a benchmark's images. The norm is that of the embedding of the network that learnt the
    margin alone."""
    norms = np.linalg.norm(seen.rows[BACKBONE].astype(np.float64), axis=1)
    images = len(norms)
    rngs = [np.random.default_rng((study.curves.seed, k)) for k in range(study.curves.random_seeds)]
    found = {arm: [seen.rows[arm][:, 0].astype(np.float64)] for arm in RATED}
    found |= {"sharpness": [seen.rows["sharpness"][:, 0]], "norm": [norms]}
    if np.isfinite(seen.detection).all():  # not of images that are aligned already
        found["detector"] = [seen.detection]
    return found | {"random": [rng.random(images) for rng in rngs]}


def measured(
    protocol: Protocol,
    seen: SeenPhotographs,
    models: Mapping[str, Model],
    study: Study,
    fmr: float,
) -> dict[str, Any]:
    """The curves of all qualities on one benchmark, by the network that recognises."""
    images, curves = protocol.benchmark.images, study.curves
    qualities = qualities_of(seen, study)
    found = {}
    for role, model in models.items():
        pairs = all_pairs(
            images, seen.rows[role], model.metric, protocol.subject_rule,
            most_impostors=curves.impostors, seed=curves.seed,
        )  # fmt: skip
        of_pairs = {
            name: [pair_quality(pairs, dict(zip(images, draw.tolist(), strict=True)))
                   for draw in draws]
            for name, draws in qualities.items()
        }  # fmt: skip
        found[role] = compare_qualities(
            pairs, of_pairs, pairs.subjects(protocol.subject_rule), own=OWN, fmr=fmr,
            resamples=curves.resamples, seed=curves.seed,
        )  # fmt: skip
    return {
        "protocol_sha256": protocol.benchmark.protocol_sha256,
        "num_images": len(images),
        "by": found,
    }


def curves_of(
    protocols: Mapping[str, Protocol], models: Mapping[str, Model], study: Study
) -> dict[str, Any]:
    """All benchmarks, each at the FMR that the study states for it."""
    rated = {arm: rating_model(own) for arm, own in load_rated().items()}
    backbone = replace(  # rated by the plain view, as the others are
        load_model(layout.study_run(NAME, BACKBONE).as_posix(), layout.WEIGHTS), mirrored=False
    )
    everybody = {**rated, BACKBONE: backbone, "sharpness": sharpness_model(), **models}
    return {
        name: measured(
            protocol, look_at(protocol, everybody), models, study,
            study.curves.fmr[name],
        )
        for name, protocol in protocols.items()
    }  # fmt: skip


def verify_students(
    protocols: Mapping[str, Protocol], study: Study
) -> dict[str, dict[str, list[Result]]]:
    """{benchmark: {kind: a result of each seed}} of the distilled students."""
    runs = [(arm, str(seed)) for arm in STUDENTS for seed in range(study.distilled.seeds)]
    texts = [(layout.study_run(NAME, arm) / seed).as_posix() for arm, seed in runs]
    models = [load_model(text, layout.WEIGHTS) for text in texts]
    found: dict[str, dict[str, list[Result]]] = {}
    for name, protocol in protocols.items():
        found[name] = {arm: [] for arm in STUDENTS}
        for (arm, seed), done in zip(runs, verify_models(models, protocol), strict=True):
            folder = layout.study_results(NAME) / name / arm / seed
            done.write(folder)
            found[name][arm].append(read_result(folder))
    return found


def run_facts(study: Study) -> dict[str, Any]:
    """What every trained network is, for whoever doubts a figure."""
    folders = [layout.study_run(NAME, arm) for arm in (BACKBONE, *RATED)]
    folders += [
        layout.study_run(NAME, arm) / str(seed)
        for arm in STUDENTS for seed in range(study.distilled.seeds)
    ]  # fmt: skip
    facts = {}
    for folder in folders:
        student, log = load_student(folder), read_json(folder / LOG)
        facts[folder.relative_to(layout.study_run(NAME, "")).as_posix()] = {
            "run_dir": folder.as_posix(),
            "sha256": student.sha256,
            "training": student.card.training,
            "faces_seen": student.card.faces_seen,
            "num_faces": log["num_faces"],
            "num_params": log["student"]["num_params"],
            "train_seconds": log["train_seconds"],
            "history": log["history"],
            "stores": json.loads(student.card.stores),
        }
    return facts


def report(params: Params, study: Study) -> StudyReport:
    protocols, models = open_protocols(params), recognisers(params, study)
    check_fmrs(study, protocols)
    benchmarks = curves_of(protocols, models, study)
    results = verify_students(protocols, study)
    curves = study.curves
    changes = {
        name: effects(own, resamples=curves.resamples, seed=curves.seed)
        for name, own in results.items()
    }
    faces, strips, tables = rated_faces(
        QUALITIES, study.distilled.rounds, params.teacher, study.distilled.quarantined
    )
    write_json(FACES, strips)
    runs = run_facts(study)
    stores = {path: root for own in runs.values() for path, root in own.pop("stores").items()}
    rated = {
        f"{own.student.folder.as_posix()} with its quality head": rating_sha256(own)
        for own in load_rated().values()
    }
    return StudyReport(
        study=NAME,
        params=asdict(study),
        made_from={
            **{own["run_dir"]: own["sha256"] for own in runs.values()},
            **rated,
            **{model.name: model.sha256 for model in models.values()},
            **{f"protocol of {name}": own["protocol_sha256"] for name, own in benchmarks.items()},
            **tables,
            **stores,
        },
        found={
            "runs": runs,
            "benchmarks": benchmarks,
            "effects": changes,
            "faces": faces,
            "recognisers": {role: model.name for role, model in models.items()},
        },
        not_measured={} if PAIRS in protocols else {"Photograph pairs of your own": NO_FOLDER},
    )


def check_fmrs(study: Study, benchmarks: Collection[str]) -> None:
    """Raises InputError for a benchmark without a stated false match rate."""
    for name in benchmarks:
        pick("benchmark in curves: fmr", name, study.curves.fmr)


def main() -> None:
    Parser(__doc__).parse_args()
    params, study = load_params(), load_study(NAME, Study)
    with timed(f"measure@{layout.STUDIES}.{NAME}"):
        report(params, study).write()
    conclude(layout.study_report(NAME), "every arm is measured", "facestill study-page")


if __name__ == "__main__":
    run_command(main)
