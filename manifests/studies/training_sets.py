"""Parameters of the study training-sets: one student on several sets of faces, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manifests.core import layout
from manifests.core.bounds import PositiveInt, Seed
from manifests.core.errors import InputError, pick
from manifests.settings.objectives import Losses
from manifests.settings.suite import find_suite, load_suite
from manifests.settings.training import Student, check_training_rounds
from manifests.studies.fair_distillation import TITLE, Recipe

NAME = "training-sets"
WHERE = layout.study_params(NAME)


@dataclass(frozen=True)
class TrainingSet:
    rounds: tuple[str, ...]  # that its faces are drawn from, taken together
    before: str | None = None  # the set that this one was made from: what did the change bring?


@dataclass(frozen=True)
class Study:
    sets: Mapping[str, TrainingSet]
    faces: PositiveInt  # distinct ones drawn of every set
    identities: (
        PositiveInt | None
    )  # of every set, with equally many faces each; null: whoever comes
    student: Student
    loss: Losses  # by a teacher, by a margin on identity labels, or by both
    recipe: Recipe
    seeds: tuple[Seed, ...]
    choice_seed: Seed  # of the faces drawn, the same for all students of a set
    suite: str  # whose benchmarks the students are measured on: a name, or a file SUITE.yaml
    data: str  # the folder that those lie in
    leakage: tuple[str, ...]  # reports of `facestill leakage` to set beside, each of one set

    @property
    def faces_each(self) -> int | None:
        """Of an identity, where their number is said."""
        return None if self.identities is None else self.faces // self.identities


def run_of(name: str, seed: int) -> str:
    """The run directory below that of the study."""
    return f"{name}/{seed}"


def check_study(study: Study, of: str = NAME) -> None:
    """Raises InputError, in one line, for what no training can have, whatever the faces."""
    where = layout.study_params(of)
    for name, chosen in study.sets.items():
        _check_set(name, chosen, study, where)
    if len(study.sets) < 2:
        raise InputError(f"{where}: sets: {len(study.sets)}; name at least two, to compare them")
    if not study.seeds or len({*study.seeds}) < len(study.seeds):
        raise InputError(f"{where}: seeds {list(study.seeds)}: name at least one, and none twice")
    _check_numbers(study, where)
    load_suite(find_suite(study.suite))
    if study.loss.on_top is not None:
        raise InputError(f"{where}: loss: on_top trains no student; leave it out")


def _check_set(name: str, chosen: TrainingSet, study: Study, where: Path) -> None:
    if not TITLE.fullmatch(name):
        raise InputError(
            f"{where}: sets: {name[:80]!r}: a set is called by letters, digits, dashes and "
            "underscores"
        )
    check_training_rounds(chosen.rounds, f"{where}: sets: {name}: ")
    if chosen.before is not None:
        others = dict.fromkeys(other for other in study.sets if other != name)
        pick(f"set before {name} in {where}", chosen.before, others)


def _check_numbers(study: Study, where: Path) -> None:
    recipe, faces, identities = study.recipe, study.faces, study.identities
    if recipe.faces_seen < recipe.batch or faces < recipe.batch:
        raise InputError(
            f"{where}: {faces} faces, {recipe.faces_seen} of them seen: both must fill a batch of "
            f"{recipe.batch}; raise them, or lower recipe: batch"
        )
    if identities is not None and faces % identities:
        raise InputError(
            f"{where}: {faces} faces of {identities} identities: not equally many each; say "
            f"{faces - faces % identities or identities} faces"
        )
    if study.loss.needs_identities and identities is None:
        raise InputError(
            f"{where}: loss {', '.join(study.loss.needs_identities)} learns identities: say "
            "under identities how many, so that every set has as many"
        )
