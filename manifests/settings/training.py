"""What the sections `train` and `fuse` of params.yaml hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, cast

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
from manifests.core.parsing import LATER, forms_of, parse_fields, parse_keys, required_of
from manifests.settings.objectives import IdentityPart, Losses, Tuition
from manifests.settings.schema import Schema, section_of

Reason = Literal["near_duplicate", "low_quality", "off_identity", "low_utility"]
Optimizer = Literal["adamw", "sgd", "muon"]
Precision = Literal["auto", "float32", "bfloat16"]
Strongest = Annotated[int, Interval(ge=0, le=30)]  # bin of RandAugment's 0..30
# Beyond these nothing can be meant, and memory, or a sine, would end without a word.
Faces = Annotated[int, Interval(ge=0, le=1_000_000_000_000)]
Width = Annotated[int, Interval(ge=1, le=1 << 16)]  # numbers of an embedding
Spread = Annotated[float, Interval(ge=0.0, le=10.0)]
Blur = Annotated[float, Interval(ge=0.0, le=32.0)]
Operations = Annotated[int, Interval(ge=0, le=100)]
GroupSize = Annotated[int, Interval(ge=1, le=1 << 20)]
Times = Annotated[float, Interval(gt=0.0, le=1000.0)]  # that an epoch shows a face


@dataclass(frozen=True)
class Student:
    name: str
    input_size: Annotated[int, Interval(ge=1, le=4096)]
    width: Annotated[float, Interval(gt=0.0, le=100.0)]  # multiplier of all channel numbers
    # of the student's own embedding, where a linear layer leads from it to the teacher's
    projected_from: Width | None = None


@dataclass(frozen=True)
class Noise:
    """Student noise: the picture changes, the target does not. Standard deviations."""

    rotation: Spread  # radians
    zoom: Spread  # log scale
    shift: Spread  # share of the side
    gamma: Spread  # log exponent
    contrast: Spread  # log gain
    brightness: Spread  # of 0..1
    tint: Spread  # log gain per colour
    grey: Share  # chance of being desaturated, by a random amount
    sharpness: Spread  # gain of an unsharp mask, uniform in -0.4..1 times this
    grain: Share  # largest deviation of white noise, of 0..1
    crop: Share  # chance of showing only a box of 0.6 to 1 of the side
    hue: Spread  # radians about the grey axis
    low_resolution: Share  # chance of having been shrunk to 0.2 to 1 of the side
    blur: Blur  # largest width (sigma, pixels) of a Gaussian
    randaugment: Operations  # that a picture goes through, of RandAugment's
    strongest: Strongest  # of its bins that is drawn


TOLERANCE = 1e-9  # of shares that are to add up to 1


@dataclass(frozen=True)
class Mix:
    """How many of a run's faces are of which group of people."""

    by: tuple[str, ...]  # attributes that make groups: `Asian,Black,White`, `Male`, `skin angle<41`
    tables: Mapping[str, str]  # that `facestill annotate` wrote, by round
    shares: Mapping[str, PositiveShare]  # of the faces, by group; of one that is not named: none
    faces: PositiveInt | None = None  # in all; null: as many as the shares allow

    @classmethod
    def parsed(cls, value: Any, where: str) -> Mix:
        found: Mix = parse_fields(cls, value, where)
        total = math.fsum(found.shares.values())
        if not found.by or abs(total - 1.0) > TOLERANCE:
            raise InputError(
                f"{where}: shares that add up to {total:g} by {len(found.by)} attributes; expected "
                "1, and at least one"
            )
        return found


class WithItsOwn:
    """A section of a run, in which fields of `train` may stand beside the section's: they hold for
    this run alone. Of `student`, `noise` and `engine` a run may change some keys; all else it
    changes as a whole."""

    @classmethod
    def parsed(cls, value: Any, where: str) -> Any:
        forms = {name: form for name, form in forms_of(cls).items() if name != "own"}
        found = parse_keys({**forms, **_own(), **forms}, required_of(cls), value, where)
        own = {name: item for name, item in found.items() if name not in forms}
        given = {name: found[name] for name in forms if name in found}
        return cast(Any, cls)(**given, own=own)

    @classmethod
    def schema(cls, defs: Schema) -> Schema:
        free = section_of(Train, defs, without="runs")["properties"]
        for name in SECTIONS:
            free[name] |= {"required": []}
        defs["Own"] = {"type": "object", "properties": free}
        named = {name: {"$ref": f"#/$defs/Own/properties/{name}"} for name in free}
        section = section_of(cls, defs, without="own")
        return section | {"properties": section["properties"] | named}

    @property
    def section(self) -> dict[str, Any]:
        """As it is written in params.yaml; without a mix where there is none, so that runs from
        before there were any are told as they were."""
        values = asdict(cast("Run | MinedRun", self))
        own = values.pop("own")
        if values["mix"] is None:
            del values["mix"]
        return values | own


@dataclass(frozen=True)
class Part:
    """Some fields of a dataclass."""

    kind: type

    def parsed(self, value: Any, where: str) -> dict[str, Any]:
        return parse_keys(forms_of(self.kind), [], value, where)


@dataclass(frozen=True)
class Run(WithItsOwn):
    faces_seen: Faces
    rate_from: Share  # the learning rate goes by train.engine.schedule from this share of its peak
    rate_to: Share  # to this one
    identities: IdentityPart | None = None  # that it sees; null: all, and faces of nobody
    own: Mapping[str, Any] = field(default_factory=dict)  # {field of `train`: what this run has}
    mix: Mix | None = None  # of groups of people; null: all faces


@dataclass(frozen=True)
class MinedRun(WithItsOwn):
    """A round that is mined, and the run of the same name, which learns from it."""

    prev: str  # the run whose gaps it is mined for, and which its own run continues
    faces_seen: Faces
    rate_from: Share  # shares of the peak, as in Run
    rate_to: Share
    identities: IdentityPart | None = None  # that its run sees, as in Run
    own: Mapping[str, Any] = field(default_factory=dict)  # as in Run
    mix: Mix | None = None  # as in Run

    @property
    def run(self) -> Run:
        parts = self.identities, self.own, self.mix
        return Run(self.faces_seen, self.rate_from, self.rate_to, *parts)


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
    precision: Precision  # of the network's arithmetic; auto: bfloat16 where it pays
    channels_last: bool
    compile: bool  # by torch.compile, which wants a C++ compiler on a CPU
    # normalises by the batch, or by its running statistics as they are
    batch_norm: Literal["batch", "frozen"]
    keep_epochs: bool  # the student after each epoch, in snapshots/NNN of the run
    muon_rate: Positive = 10.0  # of muon: times the learning rate that filters are turned at
    beta2: Decay = field(default=0.99, metadata=LATER)  # of adamw, and of muon's AdamW
    # of each identity, that a batch shows together; 1: as chance has it
    faces_an_identity: GroupSize = field(default=1, metadata=LATER)


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
    embedding_width: Width | None  # of the student; null: that of what it is taught
    batch: Annotated[int, Interval(ge=1, le=1 << 20)]
    learning_rate: Positive
    weight_decay: NotNegative
    warmup_faces: Faces
    round_weights: Mapping[str, Times]  # times that an epoch shows a round's faces; unnamed: 1
    face_weights: Mapping[
        str, str
    ]  # a round's table of `facestill qualities`; unnamed: faces weigh 1
    pool_rows: PositiveInt  # faces that are shuffled together in memory
    readers: Annotated[int, Interval(ge=1, le=1024)]  # threads that decode faces
    seed: Seed
    leave_out: tuple[Reason, ...]  # reasons of the screen stage for not training on a face
    checkpoint_faces: Faces  # a resumable state is written every so many faces
    live: bool  # also logs to reports/live/RUN by dvclive (an extra)
    runs: Mapping[str, Run]  # start, and those that are trained by hand

    def of(self, run: Run) -> Train:
        """With what that run has of its own."""
        changes = {
            name: replace(getattr(self, name), **found) if name in SECTIONS else found
            for name, found in run.own.items()
        }
        return replace(self, **changes)


SECTIONS = ("student", "noise", "engine")  # whose keys a run may change one by one


def _own() -> dict[str, Any]:
    """{field: type} of what a run may have of its own."""
    forms = {name: form for name, form in forms_of(Train).items() if name != "runs"}
    return forms | {name: Part(forms[name]) for name in SECTIONS}


@dataclass(frozen=True)
class Fuse:
    """Of an adaptor of several teachers: `facestill fuse`."""

    kind: Literal["single-linear", "double-linear", "double-linear-dropout"]
    embedding_width: Width
    loss: Losses  # a margin alone
    epochs: Annotated[int, Interval(ge=1, le=10_000)]
    drops: tuple[Count, ...]  # epochs from which the learning rate is a tenth of what it was
    batch: Annotated[int, Interval(ge=1, le=1 << 20)]
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
