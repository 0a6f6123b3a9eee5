"""A run by the online loop: what it depends on, and what is said of faces that no store holds."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.core.progress import Bar
from manifests.records.exports import Maker
from manifests.settings.params import Params
from pipeline.arrays.numerics import BATCH, numerics
from pipeline.building.embeddings import centre_and_spread
from pipeline.render import fingerprint
from train.batching.batches import Batch
from train.engine.plan import Plan
from train.engine.processes import Processes
from train.engine.steps import FLIPPED, Learner, StepLoss, make_learner, supervised_loss
from train.losses.objectives import make_objective
from train.losses.terms import Target
from train.sampling.dynamic import CENTRE, Watched, batches, is_moved
from train.sampling.faces import FreshFaces, Studio, open_studio

VERSION = 1  # raise it when the same inputs would give another student
CENTRE_FILE = "centre.json"  # in the run's folder: the space that the student's outputs lie in
TRAINED = "distilled from a teacher on faces that were made meanwhile and never stored"
USED = (
    "student", "noise", "engine", "loss", "embedding_width", "batch", "learning_rate",
    "weight_decay", "warmup_faces", "seed",
)  # fmt: skip  # of `train`


@dataclass(frozen=True)
class OnlinePlan(Plan):
    """A run by the losses of params.yaml on faces that it makes; `sources` are none."""

    studio: Studio

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The parameters that decide this run's student."""
        values = asdict(self.train)
        run = asdict(self.run)
        budget = {name: run[name] for name in ("faces_seen", "rate_from", "rate_to")}
        used = {name: values[name] for name in USED}
        return used | {"runs": {self.name: budget}, "online": asdict(self.params.online)}

    @cached_property
    def inputs(self) -> dict[str, Any]:
        studio, params = self.studio, self.params
        faces = fingerprint(studio.generator, studio.aligner, params.render, params.device)
        return {
            "version": VERSION,
            "train": self.settings,
            "space": [studio.generator.latent_space, params.psi],
            "faces": asdict(faces),
            "teacher": studio.teacher.identity() | {"numerics": studio.teacher.numerics()},
            "numerics": numerics(params.device),
            "threads": torch.get_num_threads(),
        }

    @property
    def embedding_width(self) -> int:
        return self.studio.teacher.width

    @property
    def aligners(self) -> list[str]:
        return [self.studio.aligner.name] if self.studio.aligner else []

    @property
    def how_trained(self) -> str:
        how = "SynthDistill's loop" if self.params.online.dynamic else "each one fresh"
        return f"{TRAINED} ({how})"

    @cached_property
    def makers(self) -> tuple[Maker, ...]:
        """Whatever had a part in the faces and in what they are taught as, with its terms."""
        studio = self.studio
        both = {"generator": studio.generator, "teacher": studio.teacher}
        found = [
            Maker(role, own.name, own.weights_sha256, own.licence) for role, own in both.items()
        ]
        if studio.aligner is not None:
            digest = studio.aligner.weights_sha256
            terms = studio.aligner.licences().items()
            found += [Maker("aligner", name, digest, licence) for name, licence in terms]
        return tuple(found)

    @property
    def made_with(self) -> str:
        return canonical_json([asdict(maker) for maker in self.makers])

    @property
    def num_faces(self) -> int:
        """All are of one epoch: no face is shown twice."""
        return self.num_steps * self.train.batch

    @property
    def num_used(self) -> int:
        return self.num_faces

    def faces_seen(self, step: int) -> int:
        return step * self.train.batch

    @property
    def facts(self) -> dict[str, Any]:
        return {"after": None, "made_with": [asdict(maker) for maker in self.makers]}

    @cached_property
    def target(self) -> Target:
        """The teacher's mean and spread on fresh faces of their own, which nothing is trained on;
        found once, and kept with the run."""
        path, count = self.work / CENTRE_FILE, self.params.online.centre_faces
        if not path.exists():
            fresh = FreshFaces(self.studio, (self.seed, CENTRE))
            parts = []
            with Bar(total=count, unit="face", desc=f"centre {self.name}") as bar:
                for at in range(0, count, BATCH):
                    parts.append(fresh.take(min(BATCH, count - at)).targets)
                    bar.update(len(parts[-1]))
            mean, spread = centre_and_spread(lambda: parts, self.embedding_width)
            if spread <= 0:
                raise InputError(f"all embeddings by {self.studio.teacher.name} are alike")
            write_json(path, {"mean": mean.tolist(), "spread": spread, "faces": count})
        kept = read_json(path)
        mean = np.asarray(kept["mean"], np.float32)
        return Target(torch.from_numpy(mean), kept["spread"])

    def start(self, device: torch.device) -> Learner:
        network = self.new_network().to(device)
        if not self.train.engine.channels_last:
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        teacher, width = self.studio.teacher.name, self.studio.generator.latent_width
        objective = make_objective(self.params, {teacher: self.target}, num_identities=0)
        watched = Watched(objective, self.target, teacher, batch=self.train.batch, width=width)
        return make_learner(network, watched.to(device), self.train)

    def batches(self, learner: Learner, first: int) -> Generator[Batch, None, None]:
        watched = cast(Watched, learner.objective)
        return batches(self.studio, watched, self.params.online, seed=self.seed, first=first)

    def loss_of(self, learner: Learner, processes: Processes) -> StepLoss:
        watched, online = cast(Watched, learner.objective), self.params.online
        step_loss = supervised_loss(
            learner.network,
            watched,
            stored=self.studio.frame,
            seen=self.frame,
            train=self.train,
            seed=self.seed,
            num_faces=self.num_faces,
            flipped=FLIPPED if online.mirrored else 0.0,
        )

        def loss_of(step: int, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
            loss, _ = step_loss(step, batch)
            return loss, watched.figures(len(batch), of_moved=is_moved(step, online))

        return loss_of

    def finish(self, learner: Learner) -> nn.Module:
        return learner.student


def open_online(name: str, params: Params) -> OnlinePlan:
    """Raises InputError for a run that asks for more than one teacher and faces of nobody."""
    params = params.of_run(name)
    check_asked(name, params)
    studio = open_studio(params, mirrored=params.online.mirrored)
    train, teacher = params.train, studio.teacher
    if teacher.name != params.teacher:
        raise InputError(
            f"params.yaml: teacher: {params.teacher} calls itself {teacher.name}; name it so under "
            "`teachers`"
        )
    if train.embedding_width not in (None, teacher.width):
        raise InputError(
            f"train.embedding_width: {train.embedding_width}, but {teacher.name}, which the run is "
            f"taught by, has {teacher.width}; say null"
        )
    return OnlinePlan(name, params, (), studio)


def check_asked(name: str, params: Params) -> None:
    """Raises InputError, in one line, for what faces that are forgotten cannot give."""
    train, run = params.train, params.runs[name]
    wants = {
        "a loss of identities": train.loss.needs_identities,
        "a loss without a teacher": not train.loss.needs_teacher,
        "train.teachers": train.teachers,
        "train.adaptor": train.adaptor,
        "train.snapshots": train.snapshots,
        "train.face_weights": train.face_weights,
        "train.engine.keep_epochs": train.engine.keep_epochs,
        "identities": run.identities,
        "mix": run.mix,
    }
    for what, wanted in wants.items():
        if wanted:
            raise InputError(
                f"run {name}: {what}, but online faces are of nobody, seen once and taught by one "
                "teacher; leave it out, or make rounds and train on them (facestill train)"
            )
    if run.faces_seen < train.batch:
        raise InputError(
            f"run {name}: faces_seen {run.faces_seen} is less than one batch of {train.batch}; "
            "change params.yaml"
        )
