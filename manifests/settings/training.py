"""What the sections `train` and `fuse` of params.yaml hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from manifests.core.bounds import (
    Count,
    Decay,
    InnerShare,
    NotNegative,
    Positive,
    PositiveInt,
    PositiveShare,
    Seed,
    Share,
)
from manifests.core.errors import InputError
from manifests.core.layout import PROBE
from manifests.settings.objectives import IdentityPart, Losses, Tuition

Reason = Literal["near_duplicate", "low_quality", "off_identity", "low_utility"]
Optimizer = Literal["adamw", "sgd"]
Strongest = Annotated[int, Interval(ge=0, le=30)]  # bin of RandAugment's 0..30
Times = Annotated[float, Interval(gt=0.0, le=1000.0)]  # that an epoch shows a face


@dataclass(frozen=True)
class Student:
    name: str
    input_size: PositiveInt
    width: Positive  # multiplier of all channel numbers
    # of the student's own embedding, where a linear layer leads from it to the teacher's
    projected_from: PositiveInt | None = None


@dataclass(frozen=True)
class Noise:
    """Student noise: the picture changes, the target does not. Standard deviations."""

    rotation: NotNegative  # radians
    zoom: NotNegative  # log scale
    shift: NotNegative  # share of the side
    gamma: NotNegative  # log exponent
    contrast: NotNegative  # log gain
    brightness: NotNegative  # of 0..1
    tint: NotNegative  # log gain per colour
    grey: Share  # chance of being desaturated, by a random amount
    sharpness: NotNegative  # gain of an unsharp mask, uniform in -0.4..1 times this
    grain: Share  # largest deviation of white noise, of 0..1
    crop: Share  # chance of showing only a box of 0.6 to 1 of the side
    hue: NotNegative  # radians about the grey axis
    low_resolution: Share  # chance of having been shrunk to 0.2 to 1 of the side
    blur: NotNegative  # largest width (sigma, pixels) of a Gaussian
    randaugment: Count  # operations of it that a picture goes through
    strongest: Strongest  # of its bins that is drawn


@dataclass(frozen=True)
class Run:
    faces_seen: Count
    rate_from: Share  # the learning rate goes by train.engine.schedule from this share of its peak
    rate_to: Share  # to this one
    identities: IdentityPart | None = None  # that it sees; null: all, and faces of nobody


@dataclass(frozen=True)
class MinedRun:
    """A round that is mined, and the run of the same name, which learns from it."""

    prev: str  # the run whose gaps it is mined for, and which its own run continues
    faces_seen: Count
    rate_from: Share  # shares of the peak, as in Run
    rate_to: Share
    identities: IdentityPart | None = None  # that its run sees, as in Run

    @property
    def run(self) -> Run:
        return Run(self.faces_seen, self.rate_from, self.rate_to, self.identities)


@dataclass(frozen=True)
class Engine:
    """How steps are made, whatever is learnt in them."""

    optimizer: Optimizer
    momentum: Decay  # of sgd
    schedule: Literal["linear", "cosine", "step"]
    drops: tuple[InnerShare, ...]  # step: shares of the run at which the rate falls
    drop_factor: PositiveShare  # step: to this share of what it was
    clip_norm: NotNegative  # gradients longer than this are shortened to it; 0: none
    ema: Decay  # decay of the averaged weights, which become the student; 0: no averaging
    precision: Literal["float32", "bfloat16"]  # of the network's arithmetic; bfloat16: autocast
    channels_last: bool
    compile: bool  # by torch.compile, which wants a C++ compiler on a CPU
    # normalises by the batch, or by its running statistics as they are
    batch_norm: Literal["batch", "frozen"]
    keep_epochs: bool  # the student after each epoch, in snapshots/NNN of the run


@dataclass(frozen=True)
class Train:
    student: Student
    noise: Noise
    engine: Engine
    loss: Losses
    teachers: Mapping[str, Tuition]  # by the names of their stores; none: the default teacher
    adaptor: (
        str | None
    )  # the run of `facestill fuse` that makes one target of all teachers' embeddings
    snapshots: tuple[str, ...]  # one teacher's stores, each for an epoch; instead of `teachers`
    embedding_width: PositiveInt | None  # of the student; null: that of what it is taught
    batch: PositiveInt
    learning_rate: Positive
    weight_decay: NotNegative
    warmup_faces: Count
    round_weights: Mapping[str, Times]  # times that an epoch shows a round's faces; unnamed: 1
    face_weights: Mapping[
        str, str
    ]  # a round's table of `facestill qualities`; unnamed: faces weigh 1
    pool_rows: PositiveInt  # faces that are shuffled together in memory
    readers: PositiveInt  # threads that decode faces
    seed: Seed
    leave_out: tuple[Reason, ...]  # reasons of the screen stage for not training on a face
    checkpoint_faces: Count  # a resumable state is written every so many faces
    live: bool  # also logs to reports/live/RUN by dvclive (an extra)
    runs: Mapping[str, Run]  # start, and those that are trained by hand


@dataclass(frozen=True)
class Fuse:
    """Of an adaptor of several teachers: `facestill fuse`."""

    kind: Literal["single-linear", "double-linear", "double-linear-dropout"]
    embedding_width: PositiveInt
    loss: Losses  # a margin alone
    epochs: PositiveInt
    drops: tuple[Count, ...]  # epochs from which the learning rate is a tenth of what it was
    batch: PositiveInt
    learning_rate: Positive
    momentum: Decay
    weight_decay: NotNegative
    clip: Positive  # largest norm of a gradient
    seed: Seed


def check_training_rounds(rounds: Sequence[str], where: str = "") -> None:
    """Raises InputError unless at least one round is named, none twice, and the probe never."""
    if not rounds or PROBE in rounds or len(set(rounds)) < len(rounds):
        raise InputError(
            f"{where}rounds {', '.join(rounds) or 'none'}: name at least one, none twice; round "
            f"{PROBE} is never trained on"
        )
