"""Parameters of the study CR-FIQA: a face's quality, learnt beside identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from manifests.core.bounds import Count, InnerShare, Positive, PositiveInt, Seed
from manifests.settings.objectives import Losses
from manifests.settings.training import Reason, Student


@dataclass(frozen=True)
class Descent:
    """The rate falls in a straight line to nothing after a warm-up."""

    faces_seen: Count
    learning_rate: Positive
    warmup_faces: Count


@dataclass(frozen=True)
class Networks:
    """The networks that learn quality (Boutros et al. 2023, arXiv 2112.06592)."""

    round: str  # whose identities the margin tells apart
    leave_out: tuple[Reason, ...]  # reasons of the screen stage
    embedding_width: PositiveInt
    margin: Losses  # a margin alone
    weight: Positive  # of the quality's loss beside the margin's
    beta: Positive
    taught: Positive  # weight of the teacher's loss in the network that it teaches, too
    batch: PositiveInt
    joint: Descent
    on_top: Descent  # of the quality head alone


@dataclass(frozen=True)
class Distilled:
    """Students with and without the worst faces."""

    rounds: tuple[str, ...]
    faces_seen: Count
    seeds: PositiveInt  # students of each kind
    quarantined: InnerShare  # share of each round's faces that is left out


@dataclass(frozen=True)
class Curves:
    """Error versus discard."""

    student: str  # the run that recognises, beside the teacher
    fmr: Mapping[str, InnerShare]  # by benchmark: orl, pairs
    impostors: PositiveInt  # pairs of a benchmark at most; genuine ones are all taken
    random_seeds: PositiveInt
    resamples: Count
    seed: Seed


@dataclass(frozen=True)
class Study:
    student: Student  # the architecture of all that is trained here
    networks: Networks
    distilled: Distilled
    curves: Curves
