"""Parameters of the study fair-distillation, and the grid of students that follows from them.

Neto et al., "How Knowledge Distillation Mitigates the Synthetic Gap in Fair Face Recognition"
(ECCV-W 2024, arXiv 2408.17399): data × student × loss × {no KD, KD}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any, Literal

from annotated_types import Interval

from manifests.core import layout
from manifests.core.bounds import (
    Count,
    InnerShare,
    Positive,
    PositiveInt,
    PositiveShare,
    Real,
    Seed,
)
from manifests.core.errors import InputError, pick
from manifests.settings.objectives import Losses
from manifests.settings.real_faces import ROUND
from manifests.settings.training import Reason, Student, WithItsOwn, check_training_rounds

NAME = "fair-distillation"
WHERE = layout.study_params(NAME)
ALL, SOME, NONE = "all", "some", "none"
ALONE = "none"  # in a loss's place: distilled without identity labels
TITLE = re.compile(r"[A-Za-z0-9][\w-]*")  # of what run directories are called by
# Fields of `train` that are a student's place in its study, and none of a common recipe.
DECIDED = ("student", "loss", "teachers", "adaptor", "snapshots", "round_weights", "seed")
TOLERANCE = 1e-9  # of shares that are to add up to 1
NO_FOLDER = "no folder of real faces is named under real_faces in params.yaml"
NO_LABELS = "its faces have no identity labels, which training without a teacher needs"
SOME_LABELS = "some of its faces have no identity label, which training without a teacher needs"


@dataclass(frozen=True)
class Group:
    """Faces of which an attribute's measured value lies in low <= value < high."""

    attribute: str  # of data/attributes/measured/ROUND.parquet
    low: Real | None = None
    high: Real | None = None


@dataclass(frozen=True)
class People:
    """Faces of one group of people: an identity's are of one, by their mean, as in a run's mix."""

    by: tuple[str, ...]  # attributes that make groups: `African,Asian,Caucasian,Indian`
    group: str  # one of those
    annotator: str  # whose tables, as heads-NAME: data/attributes/ANNOTATOR/ROUND.parquet


@dataclass(frozen=True)
class Part:
    rounds: tuple[str, ...]
    share: PositiveShare  # of the data set's faces
    group: Group | None = None
    people: People | None = None


@dataclass(frozen=True)
class DataSet:
    labels: Literal["all", "some", "none"]  # which of its faces have an identity
    parts: tuple[Part, ...]
    faces: PositiveInt | None = None  # distinct ones; null: as many as the study's `faces`

    @property
    def rounds(self) -> list[str]:
        """Each once, in the order of the parts."""
        return list(dict.fromkeys(name for part in self.parts for name in part.rounds))


@dataclass(frozen=True)
class Recipe(WithItsOwn):
    """Of every student. Any other field of `train` may stand beside these; what is not said here is
    as in params.yaml."""

    faces_seen: Count
    batch: PositiveInt
    learning_rate: Positive
    warmup_faces: Count
    embedding_width: PositiveInt  # the teacher's
    leave_out: tuple[Reason, ...]  # reasons of the screen stage
    own: Mapping[str, Any] = field(default_factory=dict)  # {field of `train`: what students have}

    @classmethod
    def parsed(cls, value: Any, where: str) -> Recipe:
        """Raises InputError also for a field that differs between students of a study."""
        found: Recipe = super().parsed(value, where)
        for name in DECIDED:
            if name in found.own:
                raise InputError(f"{where}: {name}: the study itself says it; leave it out here")
        return found


@dataclass(frozen=True)
class Block:
    """A product of names; the grid is several of them, one after the other."""

    data: tuple[str, ...]
    students: tuple[str, ...]
    losses: tuple[str, ...]  # names under `losses`, or none: distilled without labels
    distilled: tuple[bool, ...]


@dataclass(frozen=True)
class Fairness:
    rfw: str | None  # a folder for rfw:DIR
    attributes: tuple[str, ...]  # groups by the first that most people of a set have
    groups: Annotated[int, Interval(ge=2)]  # of people, of equal size by that attribute
    fmr: Mapping[str, InnerShare]  # by benchmark: orl, pairs, rfw
    impostors: PositiveInt  # pairs within groups that rates are counted on, at most
    resamples: Count
    seed: Seed


@dataclass(frozen=True)
class Study:
    faces: PositiveInt | None  # distinct ones of each data set; null: all that the shares allow
    data: Mapping[str, DataSet]
    students: Mapping[str, Student]
    losses: Mapping[str, Losses]  # each a margin on identity labels
    distillation: Losses  # what KD adds
    recipe: Recipe
    grid: tuple[Block, ...]
    seeds: tuple[Seed, ...]
    choice_seed: Seed  # of the faces of a data set, the same for all its students
    fairness: Fairness


@dataclass(frozen=True)
class Cell:
    """A place of the grid: one student a seed, or the reason why there is none."""

    data: str
    student: str
    loss: str | None  # a margin; None: there is none
    distilled: bool
    why_not: str | None = None

    @property
    def lesson(self) -> str:
        """elastic, elastic-kd, or kd."""
        return "-".join(filter(None, (self.loss, "kd" if self.distilled else None)))

    @property
    def name(self) -> str:
        return f"{self.data}/{self.student}.{self.lesson}"

    def run(self, seed: int) -> str:
        """The run directory below that of the study."""
        return f"{self.name}-{seed}"


def expand(study: Study, *, real_faces: bool) -> list[Cell]:
    """The grid, each cell once, in the order of its blocks. `real_faces`: are there any to train on
    (real_faces in params.yaml)?

    Of faces without labels nothing is learnt without a teacher, and with one only from it.
    """
    found: dict[str, Cell] = {}
    for block in study.grid:
        for names in product(block.data, block.students, block.losses, block.distilled):
            for cell in _cell(study, real_faces, *names):
                found.setdefault(cell.name, cell)
    return list(found.values())


def _cell(
    study: Study, real_faces: bool, data: str, student: str, loss: str, distilled: bool
) -> Iterator[Cell]:
    chosen = study.data[data]
    margin = None if loss == ALONE or (distilled and chosen.labels == NONE) else loss
    if margin is None and not distilled:
        return  # neither teacher nor labels: no student
    why_not = None
    if ROUND in chosen.rounds and not real_faces:
        why_not = NO_FOLDER
    elif not distilled and chosen.labels != ALL:
        why_not = NO_LABELS if chosen.labels == NONE else SOME_LABELS
    yield Cell(data, student, margin, distilled, why_not)


def models(study: Study, *, real_faces: bool) -> list[tuple[Cell, int]]:
    """Every student that is trained: its cell and seed."""
    cells = expand(study, real_faces=real_faces)
    return [(c, seed) for c in cells if c.why_not is None for seed in study.seeds]


def check_study(study: Study) -> None:
    """Raises InputError, in one line, for what no grid can have, whatever the data."""
    _check_names([*study.data, *study.students, *study.losses])
    for name, data in study.data.items():
        _check_data(f"data: {name}", data)
    _check_losses(study)
    for at, block in enumerate(study.grid):
        _check_block(f"grid[{at}]", block, study)
    if not study.seeds or len({*study.seeds}) < len(study.seeds):
        raise InputError(f"{WHERE}: seeds {list(study.seeds)}: name at least one, and none twice")
    recipe = study.recipe
    if recipe.faces_seen < recipe.batch:
        raise InputError(
            f"{WHERE}: recipe: faces_seen {recipe.faces_seen} is less than one batch of "
            f"{recipe.batch}"
        )


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not TITLE.fullmatch(name) or name in (ALONE, "kd"):
            raise InputError(
                f"{WHERE}: {name[:80]!r}: data sets, students and losses are called by letters, "
                f"digits, dashes and underscores, and neither {ALONE} nor kd"
            )


def _check_losses(study: Study) -> None:
    for name, losses in study.losses.items():
        if losses.margin is None or len(losses.terms) > 1:
            raise InputError(f"{WHERE}: losses: {name}: expected one margin on identity labels")
    if study.distillation.needs_identities or not study.distillation.needs_teacher:
        raise InputError(f"{WHERE}: distillation: expected losses of a teacher's embeddings alone")


def _check_block(where: str, block: Block, study: Study) -> None:
    kinds: list[tuple[str, tuple[str, ...], Iterable[str]]] = [
        ("data set", block.data, study.data),
        ("student", block.students, study.students),
        ("loss", block.losses, [*study.losses, ALONE]),
    ]
    for kind, names, known in kinds:
        for name in names:
            pick(f"{kind} in {where}", name, dict.fromkeys(known))


def _check_data(where: str, data: DataSet) -> None:
    shares = [part.share for part in data.parts]
    if abs(sum(shares) - 1.0) > TOLERANCE:
        raise InputError(
            f"{WHERE}: {where}: shares {', '.join(f'{share:g}' for share in shares) or 'none'} add "
            f"up to {sum(shares):g}; expected 1"
        )
    for part in data.parts:
        check_training_rounds(part.rounds, f"{WHERE}: {where}: ")
        group = part.group
        if group and group.low is not None and group.high is not None and group.low >= group.high:
            raise InputError(
                f"{WHERE}: {where}: {group.attribute} from {group.low:g} to {group.high:g} holds "
                "no value"
            )
