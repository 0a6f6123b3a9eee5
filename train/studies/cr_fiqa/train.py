"""Train a network, or rate faces, of study CR-FIQA.

    facestill cr-fiqa-train backbone          a margin on identities, alone
    facestill cr-fiqa-train joint             … and a quality head, trained together
    facestill cr-fiqa-train joint-released    the ratio that the released code has in place of it
    facestill cr-fiqa-train joint-ccs         the ratio's numerator alone
    facestill cr-fiqa-train taught            as joint, and taught by the teacher
    facestill cr-fiqa-train on-top            a head on the backbone as it is
    facestill cr-fiqa-train tables            qualities of stored faces by `joint`; the worst marked
    facestill cr-fiqa-train plain             students distilled as stage train does, and …
    facestill cr-fiqa-train weighted          … each face weighed by its quality
    facestill cr-fiqa-train quarantined       … without the worst faces
    facestill cr-fiqa-train random            … without as many faces at random

Runs go into runs/studies/cr-fiqa/, tables into data/studies/cr-fiqa/. An interrupted run goes on
where it stopped, to the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from manifests.core import layout
from manifests.core.digests import sha256_text
from manifests.core.errors import InputError, Parser, conclude, pick, run_command
from manifests.records.marks import LOW_UTILITY, Mark, Marks
from manifests.records.qualities import QualityTable, table_of
from manifests.settings.objectives import CertaintyRatio, Losses, Plain, Ratio
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.settings.training import Run, check_training_rounds
from manifests.stores.rounds import RoundFiles, open_round
from manifests.studies.cr_fiqa import Descent, Study
from train.checkpoint import load_quality
from train.engine.supervised import Supervised, open_plan
from train.engine.trainer import train_run
from train.qualities import quality_table

NAME = "cr-fiqa"
WHERE = layout.study_params(NAME)
BACKBONE, JOINT, TAUGHT, ON_TOP = "backbone", "joint", "taught", "on-top"
RATIOS: dict[str, Ratio] = {
    JOINT: "paper",
    "joint-released": "released",
    "joint-ccs": "ccs",
    TAUGHT: "paper",
}
NETWORKS = (BACKBONE, *RATIOS, ON_TOP)
TABLES = "tables"
PLAIN, WEIGHTED, QUARANTINED, RANDOM = STUDENTS = ("plain", "weighted", "quarantined", "random")
QUALITIES, MARKS = (layout.study_data(NAME) / folder for folder in ("qualities", "marks"))


def check_study(study: Study) -> None:
    """Raises InputError for numbers that no run can have, whatever the data."""
    networks, distilled = study.networks, study.distilled
    kinds = [type(term).__name__ for term in networks.margin.terms]
    complaints = {
        f"margin: {', '.join(term.name for term in networks.margin.terms)}, expected a margin and "
        "no more": kinds != ["Margin"],
    }  # fmt: skip
    for complaint, holds in complaints.items():
        if holds:
            raise InputError(f"{WHERE}: {complaint}")
    check_training_rounds(distilled.rounds, f"{WHERE}: ")


def name_of(arm: str) -> str:
    return layout.study_run(NAME, arm).relative_to(layout.RUNS).as_posix()


def loss_of(arm: str, study: Study) -> Losses:
    networks = study.networks
    if arm == BACKBONE:
        return networks.margin
    if arm == ON_TOP:
        below = layout.study_run(NAME, BACKBONE).as_posix()
        return Losses((CertaintyRatio("cr-fiqa", 1.0, networks.beta, on_top=below),))
    head = CertaintyRatio("cr-fiqa", networks.weight, networks.beta, RATIOS[arm])
    teaching = (Plain("standardised-mse", networks.taught),) if arm == TAUGHT else ()
    return Losses((*teaching, *networks.margin.terms, head))


def open_network(arm: str, params: Params, study: Study) -> Supervised:
    """The run of a network that learns quality; all see the same faces.

    Raises InputError if the round has too few identities for the margin.
    """
    networks = study.networks
    descent: Descent = networks.on_top if arm == ON_TOP else networks.joint
    name = name_of(arm)
    train = replace(
        _of_the_study(params, study).train,
        engine=replace(params.train.engine, ema=0.0),
        loss=loss_of(arm, study),
        embedding_width=networks.embedding_width,
        batch=networks.batch,
        learning_rate=descent.learning_rate,
        warmup_faces=descent.warmup_faces,
        leave_out=networks.leave_out,
        runs={name: Run(faces_seen=descent.faces_seen, rate_from=1.0, rate_to=0.0)},
    )
    return open_plan(name, [networks.round], None, replace(params, train=train))


def _of_the_study(params: Params, study: Study) -> Params:
    """The recipe of params.yaml, of one teacher and all faces alike, for the study's student."""
    train = replace(
        params.train, student=study.student, teachers={}, adaptor=None, snapshots=(),
        round_weights={}, face_weights={}, leave_out=(),
    )  # fmt: skip
    return replace(params, train=train)


def write_tables(params: Params, study: Study) -> None:
    """Qualities of the faces that students are distilled from, and two kinds of marks: of the
    worst share of them, and of as many drawn at random."""
    rated = load_quality(layout.study_run(NAME, JOINT))
    for name in study.distilled.rounds:
        files = open_round(name, params.teacher)
        table = quality_table(rated, files.require_manifest(), files.faces)
        digest = table.write(table_of(QUALITIES, name))
        usable = np.flatnonzero(files.faces.ok())
        worst = table.worst(usable, study.distilled.quarantined)
        seed = int(sha256_text(f"{study.curves.seed}:{name}")[:8], 16)
        drawn = np.random.default_rng(seed).choice(usable, len(worst), replace=False)
        for kind, rows in ((QUARANTINED, worst), (RANDOM, np.sort(drawn))):
            marks = marks_of(files, table, rows, {"qualities": digest, "drawn": kind})
            marks.write(table_of(MARKS / kind, name))


def marks_of(
    files: RoundFiles, table: QualityTable, rows: Int[np.ndarray, " row"], rule: dict[str, str]
) -> Marks:
    marks = [Mark(int(row), LOW_UTILITY, float(table.quality[row])) for row in rows]
    return Marks(tuple(marks), files.faces.root, files.teacher.root, rule)


def open_student(arm: str, seed: int, params: Params, study: Study) -> Supervised:
    """The run of a distilled student; students of one seed begin with the same weights.

    Raises InputError if the tables are of other faces than those at hand.
    """
    distilled, recipe = study.distilled, _of_the_study(params, study)
    name = f"{name_of(arm)}/{seed}"
    tables = {name: table_of(QUALITIES, name).as_posix() for name in distilled.rounds}
    train = replace(
        recipe.train,
        face_weights=tables if arm == WEIGHTED else {},
        seed=params.train.seed + seed,
        runs={name: Run(faces_seen=distilled.faces_seen, rate_from=1.0, rate_to=0.0)},
    )
    plan = open_plan(name, distilled.rounds, None, replace(recipe, train=train))
    return without_marked(plan, MARKS / arm) if arm in (QUARANTINED, RANDOM) else plan


def without_marked(plan: Supervised, folder: Path) -> Supervised:
    """The same run without the faces that the marks in `folder` name."""
    sources, digests = [], dict(plan.marks)
    for source, name in zip(plan.sources, plan.rounds, strict=True):
        path = table_of(folder, name)
        marks, digests[path.as_posix()] = Marks.read(
            path,
            faces_root=source.faces.root,
            teacher_root=source.teachers[plan.params.teacher].root,
            num_rows=len(source.faces),
        )
        usable = np.setdiff1d(source.usable, marks.rows((LOW_UTILITY,)))
        sources.append(replace(source, usable=usable))
    return replace(plan, sources=sources, marks=digests)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("what", help=", ".join((*NETWORKS, TABLES, *STUDENTS)))
    what: str = parser.parse_args().what
    pick("arm", what, dict.fromkeys((*NETWORKS, TABLES, *STUDENTS)))
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    if what == TABLES:
        write_tables(params, study)
    elif what in NETWORKS:
        train_run(open_network(what, params, study), layout.study_run(NAME, what))
    else:
        for seed in range(study.distilled.seeds):
            plan = open_student(what, seed, params, study)
            train_run(plan, layout.study_run(NAME, what) / str(seed))
    conclude(what, "done", f"make study NAME={NAME}, for what is left")


if __name__ == "__main__":
    run_command(main)
