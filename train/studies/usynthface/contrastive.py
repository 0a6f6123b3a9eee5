"""A run without teacher and labels: what it depends on, and how it begins and ends.

Its last layer batch-normalises the embedding, with a scale that stays at 1. Without it a random
network's embeddings all point the same way, and contrast begins with nothing to tell apart. In
evaluation it is a linear map: folded into the student's last layer, it leaves a student of the
same architecture and size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import nn

from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError
from manifests.settings.params import Params
from manifests.settings.training import Engine, Run, Train
from manifests.studies.usynthface import Descent, Study
from pipeline.arrays.numerics import numerics
from train.batching.sources import stored_frame
from train.engine.plan import Plan
from train.engine.processes import Processes
from train.engine.steps import Learner, StepLoss, make_learner
from train.studies.usynthface.margin_nce import MomentumContrast
from train.studies.usynthface.pairs import Partners, contrastive_loss

VERSION = 2  # raise it when the same inputs would give another student
TRAINED = "without teacher and labels (USynthFace)"
UNTRAINED = "untrained: random weights, with normalisation fitted to faces"


@dataclass(frozen=True)
class Contrastive(Plan):
    """A run by momentum contrast; all runs of the study begin with the same weights."""

    remedy: ClassVar = "lower descent: learning_rate"

    study: Study
    by_identity: bool  # pairs are two faces of one identity, not two views of one face
    recipe: Mapping[str, Any]  # the parameters that decide this run's student

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.recipe

    @cached_property
    def inputs(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "params": self.settings,
            "stores": list(self.stores.items()),
            "arithmetic": [numerics(self.params.device), torch.get_num_threads()],
            **({"real_faces": self.people} if self.people else {}),  # no root holds a statement
        }

    @property
    def digest(self) -> str:
        """Of the values alone, as the folders of finished runs are named."""
        return sha256_text(canonical_json(list(self.inputs.values())))

    @cached_property
    def seed(self) -> int:
        """One for all runs of a study: they see the same faces in the same order."""
        return int(sha256_text(f"{self.train.seed}:usynthface")[:8], 16)

    @property
    def embedding_width(self) -> int:
        return self.study.embedding_width

    @property
    def learns(self) -> bool:
        """At a rate of 0, steps do no more than let the normalisations' statistics settle."""
        return self.train.learning_rate > 0

    @property
    def how_trained(self) -> str:
        return TRAINED if self.learns else UNTRAINED

    def faces_seen(self, step: int) -> int:
        return step * self.train.batch if self.learns else 0

    @property
    def facts(self) -> dict[str, Any]:
        known = Partners(self.sources).num_faces if self.by_identity else 0
        return {"after": None, "num_with_identity": known}

    def start(self, device: torch.device) -> Learner:
        network = with_final_norm(self.new_network()).to(device)
        keys = torch.Generator().manual_seed(self.seed)
        contrast = MomentumContrast(network, self.study.contrast, self.embedding_width, keys)
        learner = make_learner(network, contrast.to(device), self.train)
        if self.study.descent.optimizer == "sgd":
            return replace(learner, optimizer=published_sgd(network, self.study.descent))
        return learner

    def loss_of(self, learner: Learner, processes: Processes) -> StepLoss:
        return contrastive_loss(
            learner.network,
            cast(MomentumContrast, learner.objective),
            Partners(self.sources) if self.by_identity else None,
            stored=stored_frame(self.sources),
            seen=self.frame,
            augmentation=self.study.augmentation,
            seed=self.seed,
        )

    def finish(self, learner: Learner) -> nn.Module:
        return folded(cast(nn.Sequential, learner.network))


def published_sgd(network: nn.Module, descent: Descent) -> torch.optim.Optimizer:
    """With weight decay on all parameters, which train.engine leaves off biases and norms."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.SGD(
        parameters, lr=0.0, momentum=descent.momentum, weight_decay=descent.weight_decay
    )


def with_study(params: Params, study: Study, name: str) -> Params:
    """params.yaml with the study's descent in the place of its own, for a run of this name."""
    train = replace(
        with_descent(params.train, study.descent),
        student=replace(params.train.student, projected_from=None),
        round_weights={},
        face_weights={},
        runs={name: Run(study.faces_seen, rate_from=1.0, rate_to=0.0)},
    )
    return replace(params, train=train)


def with_descent(train: Train, descent: Descent) -> Train:
    """The rate falls in a straight line to nothing after a warm-up from zero. The paper lowers its
    rate when its accuracy on photographs stops rising; here nothing that is trained may look at
    those."""
    engine = Engine(
        optimizer=descent.optimizer, momentum=descent.momentum, schedule="linear", drops=(),
        drop_factor=1.0, clip_norm=0.0, ema=0.0, precision="float32", channels_last=True,
        compile=False, batch_norm="batch", keep_epochs=False,
    )  # fmt: skip
    return replace(
        train,
        engine=engine,
        batch=descent.batch,
        learning_rate=descent.learning_rate,
        weight_decay=descent.weight_decay,
        warmup_faces=descent.warmup_faces,
    )


def recipe_of(train: Train, study: Study, *, by_identity: bool) -> dict[str, Any]:
    """Of params.yaml what concerns such a run, and the study."""
    used = {"student": asdict(train.student), "seed": train.seed, "pool_rows": train.pool_rows}
    return used | asdict(study) | {"by_identity": by_identity}


def with_final_norm(student: nn.Module) -> nn.Sequential:
    """The student followed by the normalisation, if it does not end in one of its own.

    Raises InputError for a student into which it could not be folded.
    """
    last = list(student.children())[-1]
    if isinstance(last, nn.BatchNorm1d):
        return nn.Sequential(student)
    if not isinstance(last, nn.Linear) or last.bias is None:
        raise InputError(
            "this student ends in neither a linear layer with a bias nor batch normalisation, "
            "one of which contrast needs; choose another train: student in params.yaml"
        )
    norm = nn.BatchNorm1d(last.out_features)
    norm.weight.requires_grad_(False)
    return nn.Sequential(student, norm)


@torch.no_grad()
def folded(network: nn.Sequential) -> nn.Module:
    """The student alone, whose last layer now does what the normalisation did in evaluation."""
    student = network[0]
    if len(network) > 1:
        norm, last = cast(nn.BatchNorm1d, network[1]), cast(nn.Linear, list(student.children())[-1])
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        last.weight.mul_(scale[:, None])
        last.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
    return student
