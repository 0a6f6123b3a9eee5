"""Train specialists, balanced teachers and their students, of study mst-kd.

    facestill mst-kd-train teachers SEED    one on all identities, one on each group, and one on
                                            each balanced part: runs/teachers/studies/mst-kd/SEED
    facestill mst-kd-train students SEED    the adaptors, and the students that they teach

Between the two, `facestill embed ROUND --teacher onnx:FOLDER --into data/studies/mst-kd/SEED`.
Runs go into runs/studies/mst-kd/{teachers,students}/SEED. A finished run is relinked; an
interrupted one goes on where it stopped, to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from manifests.core import layout
from manifests.core.errors import Parser, conclude, pick, run_command
from manifests.settings.objectives import Losses, Tuition
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.studies.mst_kd import (
    FUSED,
    NAME,
    NO_KD,
    SINGLE,
    SPECIALISED,
    UNLABELLED,
    Study,
    check_study,
    fused_of,
    teachers_of,
)
from manifests.studies.multi_step import ROLES, STUDENTS, TEACHERS, run_of
from train.engine.processes import keep_freed_memory
from train.fuse import fuse_sources
from train.studies.multi_step.lessons import Lesson, hand_over, open_taught, train_lessons


def teach(seed: int, params: Params, study: Study) -> None:
    """Trains all teachers, and hands them over."""
    lessons = [
        Lesson(name, study.teacher, study.margin, part=part, role=TEACHERS)
        for name, part in teachers_of(study).items()
    ]
    train_lessons(NAME, lessons, seed, params, study)
    hand_over(NAME, seed, {own.arm: own.folder(NAME, seed) for own in lessons})


def fuse_all(seed: int, params: Params, study: Study) -> dict[str, Path]:
    """{kind of teachers: the run of the adaptor that makes one target of theirs}."""
    adaptors = {}
    for kind in FUSED:
        names = fused_of(study, kind)
        kept = replace(params, train=replace(params.train, leave_out=study.recipe.leave_out))
        sources, marks = open_taught(NAME, seed, study.rounds, names, kept)
        settings = replace(params.fuse, embedding_width=study.recipe.embedding_width, seed=seed)
        adaptors[kind] = layout.study_run(NAME, run_of(STUDENTS, f"{kind}-adaptor", seed))
        fuse_sources(f"{NAME}-{kind}", sources, marks, settings, adaptors[kind])
    return adaptors


def lessons_of(study: Study, adaptors: Mapping[str, Path]) -> list[Lesson]:
    """Of all students: the paper's EAF-KD by every kind of teacher, and a-KD by specialists."""
    both, alone = Losses((*study.margin.terms, *study.distillation.terms)), study.distillation
    single = {"teachers": {SINGLE: Tuition()}}
    taught = [(f"{kind}-kd", kind, both) for kind in FUSED] + [(UNLABELLED, SPECIALISED, alone)]
    fused = []
    for arm, kind, loss in taught:
        names = fused_of(study, kind)
        own = {
            "teachers": dict.fromkeys(names, Tuition()),
            "adaptor": adaptors[kind].as_posix(),
        }
        fused.append(Lesson(arm, study.student, loss, names, own))
    return [
        Lesson(NO_KD, study.student, study.margin),
        Lesson(f"{SINGLE}-kd", study.student, both, [SINGLE], single),
        *fused,
    ]


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("what", help=" or ".join(ROLES))
    parser.add_argument("seed", type=int, help="one of `seeds` in its parameters")
    args = parser.parse_args()
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    pick("part", args.what, dict.fromkeys(ROLES))
    pick("seed", str(args.seed), dict.fromkeys(map(str, study.seeds)))
    keep_freed_memory()
    if args.what == TEACHERS:
        teach(args.seed, params, study)
    else:
        lessons = lessons_of(study, fuse_all(args.seed, params, study))
        train_lessons(NAME, lessons, args.seed, params, study)
    following = f"make study NAME={NAME}, for what is left"
    conclude(f"{args.what} of seed {args.seed}", "trained", following)


if __name__ == "__main__":
    run_command(main)
