"""A training run, whatever is learnt in it: what it depends on, and what it asks of the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_text
from manifests.settings.params import Params
from manifests.settings.training import Run, Student, Train
from pipeline.arrays.frames import ARCFACE112, Frame
from pipeline.arrays.numerics import precision_of
from train.batching.batches import Batch, BatchStream
from train.batching.order import Order
from train.batching.sources import Source, num_usable, real_faces_of
from train.engine.processes import Processes
from train.engine.steps import Learner, StepLoss
from train.students import build_student


@dataclass(frozen=True)
class Plan(ABC):
    """A training run with everything it depends on."""

    remedy: ClassVar = "lower train.learning_rate, or set train.engine.clip_norm"  # of divergence

    name: str  # of the run directory, below runs/
    params: Params  # whose section train says how steps are made
    sources: Sequence[Source]

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """The parameters that decide this run's student."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, Any]:
        """All that the bits of this run's student depend on."""

    @property
    @abstractmethod
    def embedding_width(self) -> int: ...

    @property
    @abstractmethod
    def how_trained(self) -> str:
        """In words, for the student's card."""

    @abstractmethod
    def faces_seen(self, step: int) -> int:
        """By the student after so many steps of this run."""

    @property
    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What the log says of this kind of run, beside what it says of all."""

    @abstractmethod
    def start(self, device: torch.device) -> Learner: ...

    @abstractmethod
    def loss_of(self, learner: Learner, processes: Processes) -> StepLoss: ...

    @abstractmethod
    def finish(self, learner: Learner) -> nn.Module:
        """The student, once what is kept beside it lies in the run's folder."""

    @cached_property
    def train(self) -> Train:
        """What steps are made by: in the precision that this machine has for the one asked for, so
        that two machines of unlike ones never share a run."""
        asked = self.params.train
        with torch.device("meta"):
            shape = self._build(asked.student)
        precision = precision_of(asked.engine.precision, self.params.device, shape)
        return replace(asked, engine=replace(asked.engine, precision=precision))

    @property
    def precision(self) -> str:
        """What the student was trained in, for its card."""
        return self.train.engine.precision

    @cached_property
    def run(self) -> Run:
        return self.params.run(self.name)

    @cached_property
    def stores(self) -> dict[str, str]:
        """{relative path: Merkle root} of the faces trained on, in order."""
        return {source.faces.path.as_posix(): source.faces.root for source in self.sources}

    @property
    def made_with(self) -> str:
        """Of faces that were never stored, for the student's card: who made and taught them."""
        return ""

    @property
    def frame(self) -> Frame:
        """Of what the student sees, at its own number of pixels."""
        return ARCFACE112.at(self.train.student.input_size)

    @property
    def aligners(self) -> list[str]:
        """Names of those that found the faces trained on, as the stores have it."""
        identities = [source.faces.passport.fingerprint.identity for source in self.sources]
        found = (own.get("alignment") for own in identities)
        return sorted({str(own.get("aligner", "dlib")) for own in found if type(own) is dict})

    @property
    def real_faces(self) -> dict[str, int]:
        """{what is stated of people on photographs: how many of them are trained on}."""
        return real_faces_of(self.sources)

    @property
    def taken_over(self) -> list[str]:
        """What is stated of people whom that which this run begins with, or is taught by, was
        trained on here."""
        return []

    @property
    def people(self) -> list[str]:
        """All that is stated of people behind this run's student, for its card."""
        return list(dict.fromkeys((*self.real_faces, *self.taken_over)))

    @property
    def num_steps(self) -> int:
        return self.run.faces_seen // self.train.batch

    @property
    def rounds(self) -> list[str]:
        return [layout.round_of(source.faces.path) for source in self.sources]

    @property
    def weights(self) -> list[float]:
        """Times that an epoch shows the faces of each source."""
        return [self.train.round_weights.get(name, 1.0) for name in self.rounds]

    @property
    def num_used(self) -> int:
        """Distinct faces that may be trained on."""
        return num_usable(self.sources)

    @cached_property
    def num_faces(self) -> int:
        """That an epoch shows."""
        usable = [source.usable for source in self.sources]
        return Order(usable, self.weights, pool_rows=1, seed=0).num_faces

    @cached_property
    def seed(self) -> int:
        """Of this run alone: two runs draw neither the same order nor the same noise."""
        return int(sha256_text(f"{self.train.seed}:{self.name}")[:8], 16)

    @property
    def digest(self) -> str:
        return sha256_text(canonical_json(self.inputs))

    @cached_property
    def work(self) -> Path:
        """The scratch folder of exactly this run."""
        return layout.WORK / f"train-{self.name}" / self.digest[:16]

    def batches(self, learner: Learner, first: int) -> Generator[Batch, None, None]:
        """Those of all steps from `first` on."""
        return self.stream().batches(first)

    def stream(self) -> BatchStream:
        train = self.train
        return BatchStream(
            self.sources,
            batch=train.batch,
            pool_rows=train.pool_rows,
            seed=self.seed,
            weights=self.weights,
            readers=train.readers,
            faces_an_identity=train.engine.faces_an_identity,
        )

    def new_network(self) -> nn.Module:
        """The student, with random weights that are the same in all runs of a seed."""
        torch.manual_seed(self.train.seed)
        return self._build(self.train.student)

    def _build(self, student: Student) -> nn.Module:
        return build_student(
            student.name,
            input_size=student.input_size,
            width=student.width,
            embedding_width=self.embedding_width,
            projected_from=student.projected_from,
        )
