"""What the sections `train` and `fuse` of params.yaml hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manifests.core.errors import InputError
from manifests.core.layout import PROBE
from manifests.settings.objectives import IdentityPart, Losses, Tuition


@dataclass(frozen=True)
class Student:
    name: str
    input_size: int
    width: float  # multiplier of all channel numbers
    # of the student's own embedding, where a linear layer leads from it to the teacher's
    projected_from: int | None = None


@dataclass(frozen=True)
class Noise:
    """Student noise: the picture changes, the target does not. Standard deviations."""

    rotation: float  # radians
    zoom: float  # log scale
    shift: float  # share of the side
    gamma: float  # log exponent
    contrast: float  # log gain
    brightness: float  # of 0..1
    tint: float  # log gain per colour
    grey: float  # chance of being desaturated, by a random amount
    sharpness: float  # gain of an unsharp mask, uniform in -0.4..1 times this
    grain: float  # largest deviation of white noise, of 0..1
    crop: float  # chance of showing only a box of 0.6 to 1 of the side
    hue: float  # radians about the grey axis
    low_resolution: float  # chance of having been shrunk to 0.2 to 1 of the side
    blur: float  # largest width (sigma, pixels) of a Gaussian
    randaugment: int  # operations of it that a picture goes through
    strongest: int  # of its bins of 0..30


@dataclass(frozen=True)
class Run:
    faces_seen: int
    rate_from: float  # the learning rate goes by train.engine.schedule from this share of its peak
    rate_to: float  # to this one
    identities: IdentityPart | None = None  # that it sees; null: all, and faces of nobody


@dataclass(frozen=True)
class Engine:
    """How steps are made, whatever is learnt in them."""

    optimizer: str  # adamw or sgd
    momentum: float  # of sgd
    schedule: str  # linear, cosine or step
    drops: tuple[float, ...]  # step: shares of the run at which the rate falls
    drop_factor: float  # step: to this share of what it was
    clip_norm: float  # gradients longer than this are shortened to it; 0: none
    ema: float  # decay of the averaged weights, which become the student; 0: no averaging
    precision: str  # of the network's arithmetic: float32 or bfloat16 (autocast)
    channels_last: bool
    compile: bool  # by torch.compile, which wants a C++ compiler on a CPU
    batch_norm: str  # normalises by the batch, or by its running statistics as they are (frozen)
    keep_epochs: bool  # the student after each epoch, in snapshots/NNN of the run


@dataclass(frozen=True)
class Train:
    student: Student
    noise: Noise
    engine: Engine
    loss: Losses
    teachers: Mapping[str, Tuition]  # by the names of their stores; none: the default teacher
    adaptor: str | None  # the run of train.fuse that makes one target of all teachers' embeddings
    snapshots: tuple[str, ...]  # one teacher's stores, each for an epoch; instead of `teachers`
    embedding_width: int | None  # of the student; null: that of what it is taught
    batch: int
    learning_rate: float
    weight_decay: float
    warmup_faces: int
    round_weights: Mapping[str, float]  # times that an epoch shows a round's faces; unnamed: 1
    face_weights: Mapping[str, str]  # a round's table of train.qualities; unnamed: faces weigh 1
    pool_rows: int  # faces that are shuffled together in memory
    readers: int  # threads that decode faces
    seed: int
    leave_out: tuple[str, ...]  # reasons of the screen stage for not training on a face
    checkpoint_faces: int  # a resumable state is written every so many faces
    live: bool  # also logs to reports/live/RUN by dvclive (an extra)
    runs: Mapping[str, Run]


@dataclass(frozen=True)
class Fuse:
    """Of an adaptor of several teachers: train.fuse."""

    kind: str  # single-linear, double-linear or double-linear-dropout
    embedding_width: int
    loss: Losses  # a margin alone
    epochs: int
    drops: tuple[int, ...]  # epochs from which the learning rate is a tenth of what it was
    batch: int
    learning_rate: float
    momentum: float
    weight_decay: float
    clip: float  # largest norm of a gradient
    seed: int


def check_training_rounds(rounds: Sequence[str], where: str = "") -> None:
    """Raises InputError unless at least one round is named, none twice, and the probe never."""
    if not rounds or PROBE in rounds or len(set(rounds)) < len(rounds):
        raise InputError(
            f"{where}rounds {', '.join(rounds) or 'none'}: name at least one, none twice; round "
            f"{PROBE} is never trained on"
        )
