"""Runs of studies that train their own teachers: on identity labels, by teachers, or by both.

A teacher's embeddings lie in data/studies/STUDY/SEED/ROUND/TEACHER.zarr; `facestill embed` puts
them there, from the files that `hand_over` leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from manifests.core import layout
from manifests.core.files import put
from manifests.core.progress import Bar
from manifests.settings.objectives import IdentityPart, Losses
from manifests.settings.params import Params
from manifests.settings.training import Student
from manifests.stores.reading import TeacherStore
from manifests.studies import fair_distillation
from manifests.studies.multi_step import STUDENTS, Recipe, Study, run_of
from train.batching.identity_groups import only_part
from train.batching.mixing import facts_of
from train.batching.sources import (
    Source,
    check_one_teacher,
    num_usable,
    open_sources,
    taught_by,
)
from train.checkpoint import load_student
from train.engine.supervised import Supervised
from train.engine.trainer import train_run
from train.losses.prerequisites import check_objective
from train.snapshots import as_teacher
from train.studies.fair_distillation.train import recipe_params


@dataclass(frozen=True)
class Lesson:
    """What one run of a study learns, and from whom."""

    arm: str
    network: Student
    loss: Losses
    teachers: Sequence[str] = ()  # whose embeddings it needs
    own: Mapping[str, Any] = field(default_factory=dict)  # fields of `train`
    part: IdentityPart | None = None  # of the identities; None: all of them
    role: str = STUDENTS

    def folder(self, study: str, seed: int) -> Path:
        return layout.study_run(study, run_of(self.role, self.arm, seed))


def embeddings_of(study: str, seed: int) -> Path:
    """Of the teachers of that seed: ROUND/TEACHER.zarr in it."""
    return layout.study_data(study) / str(seed)


def files_of(study: str, seed: int) -> Path:
    """Of the teachers of that seed, as ONNX."""
    return layout.trained_teachers(f"{layout.STUDIES}/{study}") / str(seed)


def open_taught(
    study: str, seed: int, rounds: Sequence[str], teachers: Sequence[str], params: Params
) -> tuple[list[Source], dict[str, str]]:
    """The rounds with these teachers' embeddings, and {path: digest} of the marks that faces are
    left out by."""
    opened, marks = open_sources(rounds, (), params, {})
    sources = []
    for source in opened:
        folder = embeddings_of(study, seed) / layout.round_of(source.faces.path)
        stores = {
            name: TeacherStore.open(folder / f"{name}.zarr", expect={"faces": source.faces.root})
            for name in teachers
        }
        sources.append(taught_by(source, stores))
    for name in teachers:
        check_one_teacher([source.teachers[name] for source in sources])
    return sources, marks


def open_lesson(study: str, lesson: Lesson, seed: int, params: Params, said: Study) -> Supervised:
    """The run of one teacher or student, in whole epochs and the rest of a batch.

    Raises InputError for embeddings of other faces, and for what the loss cannot be given.
    """
    kept = replace(params, train=replace(params.train, leave_out=said.recipe.leave_out))
    sources, marks = open_taught(study, seed, said.rounds, lesson.teachers, kept)
    if lesson.part is not None:
        sources, groups = only_part(sources, lesson.part, params.teacher)
        marks |= groups
    run = lesson.folder(study, seed).relative_to(layout.RUNS).as_posix()
    recipe = recipe_for(num_usable(sources), said.recipe)
    own = recipe_params(run, seed, params, lesson.network, lesson.loss, recipe)
    own = replace(own, train=replace(own.train, **lesson.own))
    plan = Supervised(
        run, own, sources, len(sources), after=None, marks=marks, chosen=facts_of(sources)
    )
    check_objective(own, plan.sources, plan.targets, plan.num_epochs)
    return plan


def recipe_for(faces: int, recipe: Recipe) -> fair_distillation.Recipe:
    """In faces, of a run that an epoch shows so many of."""
    values = asdict(recipe)
    seen = -(-faces * values.pop("epochs") // recipe.batch) * recipe.batch
    warmup = int(values.pop("warmup") * seen)
    return fair_distillation.Recipe(faces_seen=seen, warmup_faces=warmup, **values)


def train_lessons(
    study: str, lessons: Sequence[Lesson], seed: int, params: Params, said: Study
) -> None:
    """Trains, or relinks, one run after the other."""
    for lesson in lessons:
        train_run(open_lesson(study, lesson, seed, params, said), lesson.folder(study, seed))


def hand_over(study: str, seed: int, teachers: Mapping[str, Path]) -> None:
    """Writes a file for each teacher, {name: run, or snapshot of one}."""
    for name, run in Bar(teachers.items(), desc=f"export {study}", unit="teacher"):
        put(files_of(study, seed) / f"{name}.onnx", as_teacher(load_student(run), name))
