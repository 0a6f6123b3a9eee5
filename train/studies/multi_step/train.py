"""Train a teacher and, epoch by epoch, students of study multi-step.

    facestill multi-step-train teachers SEED    a network an epoch, below
                                                runs/teachers/studies/multi-step/SEED
    facestill multi-step-train students SEED    by labels alone, also by the last network, and
                                                also by each epoch's own

Between the two, `facestill embed ROUND --teacher onnx:FOLDER --into data/studies/multi-step/SEED`.
Runs go into runs/studies/multi-step/{teachers,students}/SEED. A finished run is relinked; an
interrupted one goes on where it stopped, to the same bits.
"""

from __future__ import annotations

from dataclasses import replace

from manifests.core.errors import Parser, conclude, pick, run_command
from manifests.settings.objectives import Losses, Tuition
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.studies.multi_step import (
    MULTI_STEP,
    NAME,
    NO_KD,
    ROLES,
    SINGLE_STEP,
    TEACHER,
    TEACHERS,
    Study,
    check_study,
)
from train.engine.processes import keep_freed_memory
from train.snapshots import snapshots_of
from train.studies.multi_step.lessons import Lesson, hand_over, train_lessons


def teach(seed: int, params: Params, study: Study) -> None:
    """Trains the teacher, and hands the network of every epoch over."""
    engine = replace(params.train.engine, keep_epochs=True)
    lesson = Lesson(TEACHER, study.teacher, study.margin, own={"engine": engine}, role=TEACHERS)
    train_lessons(NAME, [lesson], seed, params, study)
    folders = snapshots_of(lesson.folder(NAME, seed))
    hand_over(NAME, seed, dict(zip(snapshot_names(study), folders, strict=True)))


def snapshot_names(study: Study) -> tuple[str, ...]:
    """Of the teachers that a teacher's training leaves, in the order of its epochs."""
    return tuple(f"{TEACHER}-{epoch:03d}" for epoch in range(study.recipe.epochs))


def lessons_of(study: Study) -> list[Lesson]:
    """PocketNet's three: ArcFace only, template KD, multi-step KD."""
    names, both = snapshot_names(study), Losses((*study.margin.terms, *study.distillation.terms))
    last = {"teachers": {names[-1]: Tuition()}}
    return [
        Lesson(NO_KD, study.student, study.margin),
        Lesson(SINGLE_STEP, study.student, both, names[-1:], last),
        Lesson(MULTI_STEP, study.student, both, names, {"snapshots": names}),
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
        train_lessons(NAME, lessons_of(study), args.seed, params, study)
    following = f"make study NAME={NAME}, for what is left"
    conclude(f"{args.what} of seed {args.seed}", "trained", following)


if __name__ == "__main__":
    run_command(main)
