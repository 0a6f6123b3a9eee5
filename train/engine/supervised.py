"""A run that is supervised, by teachers' embeddings or by identity labels: train's own kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.parsing import told
from manifests.settings.params import Params
from manifests.settings.training import check_training_rounds
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import numerics
from train.batching.mixing import mix_groups
from train.batching.sources import (
    Source,
    num_identities,
    num_usable,
    only_part,
    open_sources,
    stored_frame,
)
from train.checkpoint import (
    DISTILLED,
    LABELLED,
    QUALITY,
    QualityCard,
    Student,
    load_student,
    save_quality,
    weights_sha256,
)
from train.engine.plan import Plan
from train.engine.processes import Processes
from train.engine.steps import Learner, StepLoss, make_learner, supervised_loss
from train.losses.adaptors import load_adaptor
from train.losses.face_weights import FaceWeights, read_tables
from train.losses.margin_heads import HEAD, save_head
from train.losses.objectives import (
    Distillation,
    Objective,
    embedding_width,
    files_of,
    make_objective,
    teachers_of,
)
from train.losses.prerequisites import (
    check_objective,
    check_same_kind,
    check_same_width,
    identities_sha256,
)
from train.losses.terms import Target

UNCONCERNED = ("checkpoint_faces", "readers", "live")  # parameters that no student depends on
VERSION = 3  # raise it when the same inputs would give another student


@dataclass(frozen=True)
class Supervised(Plan):
    """A run by the losses of params.yaml, from random weights or an earlier run's student."""

    num_new: int  # of the sources, the last ones, that no earlier run trained on
    after: Student | None
    marks: Mapping[str, str]  # {relative path: digest} of the marks that faces are left out by
    processes: int = 1  # that train together
    centred_by: Source | None = None  # whose mean is the targets' origin; None: the first round's
    chosen: Mapping[str, Any] = field(default_factory=dict)  # how faces were, if not all are used
    training: str | None = None  # in words, for the student's card; None: as the losses say

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The parameters that decide this run's student, those of other runs left out."""
        run = told(self.run)
        left_out = {"own"} if self.run.mix else {"own", "mix"}  # the own is in train
        run = {key: value for key, value in run.items() if key not in left_out}
        values = told(self.train) | {"runs": {self.name: run}}
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
    def frame(self) -> Frame:
        """A student keeps the one that it began with."""
        return self.after.card.input_frame if self.after else super().frame

    @property
    def aligners(self) -> list[str]:
        """The earlier runs' too."""
        before = self.after.card.aligner.split(", ") if self.after else []
        return sorted({*super().aligners, *before} - {""})

    @property
    def precision(self) -> str:
        """The earlier runs' too."""
        own = [super().precision] if self.num_steps else []
        before = self.after.card.precision.split(", ") if self.after else []
        return ", ".join(sorted({*own, *before} - {""}))

    @cached_property
    def taken_over(self) -> list[str]:
        """Of the student before, and of the adaptor that makes the targets."""
        before, adaptor = self.after.card.people if self.after else [], self.train.adaptor
        if adaptor is None:
            return before
        return [*before, *load_adaptor(layout.run_folder(adaptor)).real_faces]

    @property
    def face_weights(self) -> FaceWeights | None:
        return self._weighing[0]

    @cached_property
    def _weighing(self) -> tuple[FaceWeights | None, dict[str, str]]:
        return read_tables(self.sources, self.train.face_weights)

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
        words = self.training or (DISTILLED if self.train.loss.needs_teacher else LABELLED)
        groups = self.chosen.get("by_group", {})
        told = ", ".join(f"{name} {count}" for name, count in groups.items())
        return f"{words}; faces of {told}" if told else words

    @property
    def num_steps(self) -> int:
        """0 if the new rounds are empty: the last student is passed on."""
        return super().num_steps if num_usable(self.sources[-self.num_new :]) else 0

    @property
    def num_epochs(self) -> int:
        """That a run begins, the last of which may end early."""
        if not self.num_steps:
            return 0
        faces = max(1, self.num_faces)  # weights of 0 are refused later, by train.engine.preflight
        return (self.num_steps - 1) * self.train.batch // faces + 1

    @cached_property
    def inputs(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "train": self.settings,
            "stores": list(self.stores.items()),  # in order: the first round centres the targets
            "after": self.after.sha256 if self.after else "",
            "numerics": numerics(self.params.device),
            "threads": torch.get_num_threads(),
            "processes": self.processes,
            **({"real_faces": self.people} if self.people else {}),  # no root holds a statement
        }

    @property
    def facts(self) -> dict[str, Any]:
        return {"after": self.after.folder.name if self.after else None}

    def faces_seen(self, step: int) -> int:
        return step * self.train.batch + (self.after.card.faces_seen if self.after else 0)

    def start(self, device: torch.device) -> Learner:
        network, objective = self.start_network().to(device), self.start_objective().to(device)
        if not objective.trains_student:
            network.requires_grad_(False)
        return make_learner(network, objective, self.train)

    def start_network(self) -> nn.Module:
        """Random weights from the run's seed, or the last run's student."""
        after = self.after
        network = self.new_network() if after is None else after.network.requires_grad_(True)
        if not self.train.engine.channels_last:
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return network

    def start_objective(self) -> Objective:
        torch.manual_seed(self.seed)
        count, weights = num_identities(self.sources), self.face_weights
        return make_objective(self.params, self.targets, num_identities=count, face_weights=weights)

    def loss_of(self, learner: Learner, processes: Processes) -> StepLoss:
        return supervised_loss(
            learner.network,
            cast(Objective, learner.objective),
            stored=stored_frame(self.sources),
            seen=self.frame,
            train=self.train,
            seed=self.seed,
            num_faces=self.num_faces,
            processes=processes,
        )

    def finish(self, learner: Learner) -> nn.Module:
        """Keeps a margin head, without which no one could be taught this student's logits, and a
        quality head."""
        objective = cast(Distillation, learner.objective)
        if objective.head is not None:
            save_head(self.work / HEAD, objective.head, identities_sha256(self.sources))
        if objective.quality is not None:
            card = QualityCard(objective.quality.term.ratio, weights_sha256(learner.student))
            save_quality(self.work / QUALITY, objective.quality.layer, card)
        return learner.student


def open_plan(
    name: str, rounds: Sequence[str], after: str | None, params: Params, processes: int = 1
) -> Supervised:
    """Opens the stores and the last student; the chain of digests is checked.

    Raises InputError if a store changed since the last run, or if the last run's student or
    teacher is not the one that the parameters ask for.
    """
    params = params.of_run(name)
    _check_asked(name, rounds, after, params)
    student = load_student(layout.run(after)) if after else None
    known: Mapping[str, str] = json.loads(student.card.stores) if student else {}
    earlier = [layout.round_of(Path(path)) for path in known if Path(path).name == layout.FACES]
    rounds = _unseen(rounds, earlier, after)
    if student is not None:
        check_same_kind(student, earlier[0], known, params)
    sources, marks = open_sources([*earlier, *rounds], teachers_of(params), params, known)
    part = params.runs[name].identities
    if part is not None:
        sources = [only_part(source, part) for source in sources]
    sources, tables, chosen = _mixed(name, params, sources)
    if params.train.loss.on_top is not None:
        student = load_student(layout.run_folder(params.train.loss.on_top))
        check_same_kind(student, "", {}, params)
    plan = Supervised(
        name, params, sources, len(rounds), student, marks | tables, processes, chosen=chosen
    )
    _check_steps(plan, rounds, after)
    if student is not None:
        check_same_width(student, plan.embedding_width)
    check_objective(params, sources, plan.targets, plan.num_epochs)
    return plan


def _mixed(
    name: str, params: Params, sources: list[Source]
) -> tuple[list[Source], dict[str, str], dict[str, Any]]:
    """The faces that the run's mix of groups of people leaves, the digests of the tables that tell
    groups, and how many of which there are."""
    wanted = params.runs[name].mix
    if wanted is None:
        return sources, {}, {}
    found = mix_groups(f"run {name}: mix", wanted, sources, params.train.seed)
    return list(found.sources), dict(found.tables), dict(found.facts)


def _unseen(rounds: Sequence[str], earlier: Sequence[str], after: str | None) -> list[str]:
    """The rounds that the run before did not see: of those it sees all again in any case."""
    found = [name for name in rounds if name not in earlier]
    if not found:
        raise InputError(
            f"rounds {', '.join(rounds)}: run {after} was trained on all of them; name a new one"
        )
    return found


def _check_asked(name: str, rounds: Sequence[str], after: str | None, params: Params) -> None:
    check_training_rounds(rounds)
    if after and params.train.loss.on_top:
        raise InputError(
            f"run {name}: after {after}, and on top of {params.train.loss.on_top}; a quality head "
            "is trained on top of one student: leave out --after"
        )


def _check_steps(plan: Supervised, rounds: Sequence[str], after: str | None) -> None:
    name, faces_seen, batch = plan.name, plan.run.faces_seen, plan.train.batch
    if faces_seen and faces_seen < batch:
        raise InputError(
            f"run {name}: faces_seen {faces_seen} is less than one batch of "
            f"{batch}; change params.yaml"
        )
    if not plan.num_steps and not after:
        raise InputError(
            f"run {name}: no faces to see (faces_seen {faces_seen}; "
            f"usable faces of {', '.join(rounds)}: {num_usable(plan.sources)}), and no --after "
            "whose student could be passed on"
        )
