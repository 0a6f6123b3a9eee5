"""Parameters of the study USynthFace: students trained without teacher and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from manifests.core.bounds import Count, Decay, NotNegative, Positive, PositiveInt
from manifests.settings.training import Optimizer


@dataclass(frozen=True)
class Contrast:
    """Momentum contrast with a margin (Boutros et al. 2023, arXiv 2211.07371)."""

    # taken off the positive's cosine; 0: plain MoCo
    margin: Annotated[float, Interval(ge=0.0, le=2.0)]
    temperature: Positive
    queue: PositiveInt  # keys of earlier batches, the negatives
    # of the queue's keys: fifo, or as the released code can
    replacement: Literal["fifo", "most-similar", "least-similar"]
    momentum: Decay  # of the key encoder, a step
    sub_batches: PositiveInt  # normalised apart, keys shuffled among them: the GPUs of the paper


@dataclass(frozen=True)
class Augmentation:
    """RandAugment: operations a picture, and the strongest bin of 30 that is drawn."""

    operations: Count
    strongest: Annotated[int, Interval(ge=1, le=30)]


@dataclass(frozen=True)
class Descent:
    """The rate falls in a straight line to nothing after a warm-up."""

    optimizer: Optimizer  # sgd is the paper's, adamw gets further in short runs
    batch: PositiveInt
    learning_rate: Positive
    momentum: Decay  # of sgd
    weight_decay: NotNegative
    warmup_faces: Count


@dataclass(frozen=True)
class Study:
    rounds: tuple[str, ...]  # that all students are trained on
    faces_seen: Count  # by each trained student; a pair of views counts as one face
    embedding_width: PositiveInt  # the teacher's, so that all students are of one size
    contrast: Contrast
    augmentation: Augmentation
    descent: Descent
