"""What a training run depends on: parameters, stores and the student it continues from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError, pick
from manifests.records.marks import Marks
from manifests.settings.params import Params
from manifests.settings.training import Run, check_training_rounds
from manifests.stores.rounds import RoundFiles, check_no_face_twice, open_round, require_synthetic
from pipeline.arrays.numerics import numerics
from train.batching.batches import (
    NO_ROWS,
    Source,
    check_one_teacher,
    num_usable,
    only_part,
    open_source,
)
from train.batching.order import Order
from train.checkpoint import DISTILLED, LABELLED, Student, load_student
from train.losses.face_weights import FaceWeights, read_tables
from train.losses.objectives import embedding_width, files_of, teachers_of
from train.losses.prerequisites import check_objective, check_same_kind, check_same_width
from train.losses.terms import Target

UNCONCERNED = ("checkpoint_faces", "readers", "live")  # parameters that no student depends on
VERSION = 1  # raise it when the same inputs would give another student


@dataclass(frozen=True)
class Plan:
    """A training run with everything it depends on."""

    name: str
    params: Params
    sources: Sequence[Source]
    num_new: int  # of the sources, the last ones, that no earlier run trained on
    after: Student | None
    marks: Mapping[str, str]  # {relative path: digest} of the marks that faces are left out by
    processes: int = 1  # that train together
    centred_by: Source | None = None  # whose mean is the targets' origin; None: the first round's
    chosen: Mapping[str, Any] = field(default_factory=dict)  # how faces were, if not all are used
    training: str | None = None  # in words, for the student's card; None: as the losses say

    @cached_property
    def run(self) -> Run:
        return pick("run", self.name, self.params.runs)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The parameters that decide this run's student, those of other runs left out."""
        values = asdict(self.params.train) | {"runs": {self.name: asdict(self.run)}}
        unused = [] if values["face_weights"] else ["face_weights"]
        for name in (*UNCONCERNED, *unused):
            values.pop(name)
        return values | ({"chosen": dict(self.chosen)} if self.chosen else {})

    @cached_property
    def stores(self) -> dict[str, str]:
        """{relative path: Merkle root or digest} of everything that is trained on, in order."""
        roots: dict[str, str] = {}
        for source in self.sources:
            roots[source.faces.path.as_posix()] = source.faces.root
            for teacher in source.teachers.values():
                roots[teacher.path.as_posix()] = teacher.root
        for teacher in self.centred_by.teachers.values() if self.centred_by else ():
            roots[teacher.path.as_posix()] = teacher.root
        return roots | dict(self.marks) | self._weighing[1] | files_of(self.params)

    @property
    def face_weights(self) -> FaceWeights | None:
        return self._weighing[0]

    @cached_property
    def _weighing(self) -> tuple[FaceWeights | None, dict[str, str]]:
        return read_tables(self.sources, self.params.train.face_weights)

    @cached_property
    def targets(self) -> dict[str, Target]:
        """By teacher, centred by the first round (the pool) in every run, so that all runs share
        one target space."""
        pool = (self.centred_by or self.sources[0]).teachers
        return {
            name: Target(torch.from_numpy(store.centre()), store.spread())
            for name, store in pool.items()
        }

    @property
    def embedding_width(self) -> int:
        return embedding_width(self.params, self.targets)

    @property
    def how_trained(self) -> str:
        by_losses = DISTILLED if self.params.train.loss.needs_teacher else LABELLED
        return self.training or by_losses

    @property
    def num_steps(self) -> int:
        """0 if the new rounds are empty: the last student is passed on."""
        if not num_usable(self.sources[-self.num_new :]):
            return 0
        return self.run.faces_seen // self.params.train.batch

    @property
    def num_epochs(self) -> int:
        """That a run begins, the last of which may end early."""
        if not self.num_steps:
            return 0
        faces = max(1, self.num_faces)  # weights of 0 are refused later, by train.engine.preflight
        return (self.num_steps - 1) * self.params.train.batch // faces + 1

    @property
    def rounds(self) -> list[str]:
        return [layout.round_of(source.faces.path) for source in self.sources]

    @property
    def weights(self) -> list[float]:
        """Times that an epoch shows the faces of each source."""
        weights = self.params.train.round_weights
        return [weights.get(name, 1.0) for name in self.rounds]

    @cached_property
    def num_faces(self) -> int:
        """That an epoch shows."""
        usable = [source.usable for source in self.sources]
        return Order(usable, self.weights, pool_rows=1, seed=0).num_faces

    @cached_property
    def seed(self) -> int:
        """Of this run alone: two runs draw neither the same order nor the same noise."""
        return int(sha256_text(f"{self.params.train.seed}:{self.name}")[:8], 16)

    @cached_property
    def work(self) -> Path:
        """The scratch folder of exactly this run."""
        digest = sha256_text(canonical_json(self.inputs))
        return layout.WORK / f"train-{self.name}" / digest[:16]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that the bits of this run's student depend on."""
        return {
            "version": VERSION,
            "train": self.settings,
            "stores": list(self.stores.items()),  # in order: the first round centres the targets
            "after": self.after.sha256 if self.after else "",
            "numerics": numerics(self.params.device),
            "threads": torch.get_num_threads(),
            "processes": self.processes,
        }


def open_plan(
    name: str, rounds: Sequence[str], after: str | None, params: Params, processes: int = 1
) -> Plan:
    """Opens the stores and the last student; the chain of digests is checked.

    Raises InputError if a store changed since the last run, or if the last run's student or
    teacher is not the one that the parameters ask for.
    """
    check_training_rounds(rounds)
    if after and params.train.loss.on_top:
        raise InputError(
            f"run {name}: after {after}, and on top of {params.train.loss.on_top}; a quality head "
            "is trained on top of one student: leave out --after"
        )
    student = load_student(layout.run(after)) if after else None
    known: Mapping[str, str] = json.loads(student.card.stores) if student else {}
    earlier = [layout.round_of(Path(path)) for path in known if Path(path).name == layout.FACES]
    rounds = [name for name in rounds if name not in earlier]
    if student is not None:
        check_same_kind(student, earlier[0], known, params)
    sources, marks = open_sources([*earlier, *rounds], params, known)
    part = pick("run", name, params.runs).identities
    if part is not None:
        sources = [only_part(source, part) for source in sources]
    if params.train.loss.on_top is not None:
        student = load_student(Path(params.train.loss.on_top))
        check_same_kind(student, "", {}, params)
    plan = Plan(name, params, sources, len(rounds), student, marks, processes)
    if plan.run.faces_seen and plan.run.faces_seen < params.train.batch:
        raise InputError(
            f"run {name}: faces_seen {plan.run.faces_seen} is less than one batch of "
            f"{params.train.batch}; change params.yaml"
        )
    if not plan.num_steps and not after:
        raise InputError(
            f"run {name}: no faces to see (faces_seen {plan.run.faces_seen}; "
            f"usable faces of {', '.join(rounds)}: {num_usable(sources)}), and no --after whose "
            "student could be passed on"
        )
    if student is not None:
        check_same_width(student, plan.embedding_width)
    check_objective(params, sources, plan.targets, plan.num_epochs)
    return plan


def open_sources(
    names: Sequence[str],
    params: Params,
    known: Mapping[str, str],
    teachers: Sequence[str] | None = None,
    *,
    real_faces: bool = False,
) -> tuple[list[Source], dict[str, str]]:
    """The rounds to train on, without the faces to be left out, and {path: digest} of the marks
    that say so. `known`: what an earlier run recorded of them; `teachers`: whose stores, by
    default those that the objective needs."""
    wanted = teachers_of(params) if teachers is None else teachers
    opened = [open_round(name, params.teacher, roots=known) for name in names]
    check_no_face_twice(opened)
    if not real_faces:
        require_synthetic(opened)
    sources, digests = [], {}
    for files in opened:
        stores = {
            name: files.teacher
            if name == params.teacher
            else open_round(files.name, name, roots=known).teacher
            for name in wanted
        }
        rows = NO_ROWS
        if params.train.leave_out:
            marks, digest = _read_marks(files, params.teacher, known)
            rows = marks.rows(params.train.leave_out)
            digests[layout.marks(files.name, params.teacher).as_posix()] = digest
        sources.append(open_source(files.faces, stores, rows, files.manifest))
    for name in wanted:
        check_one_teacher([source.teachers[name] for source in sources])
    return sources, digests


def _read_marks(files: RoundFiles, teacher: str, known: Mapping[str, str]) -> tuple[Marks, str]:
    """A round's marks and their digest, which an earlier run may have recorded."""
    path = layout.marks(files.name, teacher)
    if not path.exists():
        raise InputError(
            f"{path}: no such file; run `facestill screen {files.name}`, or leave nothing "
            "out (params.yaml: train: leave_out: [])"
        )
    roots = {"faces_root": files.faces.root, "teacher_root": files.teacher.root}
    marks, digest = Marks.read(path, **roots)
    if known.get(path.as_posix(), digest) != digest:
        raise InputError(f"{path}: drawn anew since the last run; train that run again")
    return marks, digest
