"""Parameters of the study multi-step, and of every study whose students learn from teachers that
are trained in the study itself.

Boutros et al., "PocketNet" (IEEE Access 2022, arXiv 2108.10710): epoch e of a student is taught by
the snapshot that its teacher's training left after its own epoch e.
"""

from __future__ import annotations

from dataclasses import dataclass

from manifests.core import layout
from manifests.core.bounds import InnerShare, Positive, PositiveInt, Seed
from manifests.core.errors import InputError
from manifests.settings.objectives import Losses
from manifests.settings.training import Reason, Student, check_training_rounds

NAME = "multi-step"
TEACHERS, STUDENTS = ROLES = ("teachers", "students")
TEACHER = "teacher"
NO_KD, SINGLE_STEP, MULTI_STEP = ARMS = ("no-kd", "single-step", "multi-step")


@dataclass(frozen=True)
class Recipe:
    """Of every run, teachers and students; what is not said here is as in `train`."""

    epochs: PositiveInt
    batch: PositiveInt
    learning_rate: Positive
    warmup: InnerShare  # of a run's faces
    embedding_width: PositiveInt
    leave_out: tuple[Reason, ...]  # reasons of the screen stage


@dataclass(frozen=True)
class Study:
    rounds: tuple[str, ...]  # of identities, that teachers and students learn from
    teacher: Student  # network of the teachers
    student: Student
    margin: Losses  # on identity labels: what teachers learn by, and students beside KD
    distillation: Losses  # what KD adds
    recipe: Recipe
    seeds: tuple[Seed, ...]  # of teachers too: those of a seed teach its students


def run_of(role: str, arm: str, seed: int) -> str:
    """The run directory below that of the study."""
    return f"{role}/{seed}/{arm}"


def check_study(study: Study, of: str = NAME) -> None:
    """Raises InputError, in one line, for what no training can have, whatever the faces."""
    where = layout.study_params(of)
    check_training_rounds(study.rounds, f"{where}: ")
    if study.margin.margin is None or len(study.margin.terms) > 1:
        raise InputError(f"{where}: margin: expected one margin on identity labels")
    if study.distillation.needs_identities or not study.distillation.needs_teacher:
        raise InputError(f"{where}: distillation: expected losses of a teacher's embeddings alone")
    if not study.seeds or len({*study.seeds}) < len(study.seeds):
        raise InputError(f"{where}: seeds {list(study.seeds)}: name at least one, and none twice")
