"""Parameters of the study USynthFace: students trained without teacher and labels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contrast:
    """Momentum contrast with a margin (Boutros et al. 2023, arXiv 2211.07371)."""

    margin: float  # taken off the positive's cosine; 0: plain MoCo
    temperature: float
    queue: int  # keys of earlier batches, the negatives
    replacement: str  # of the queue's keys: fifo, or of the released code most-, least-similar
    momentum: float  # of the key encoder, a step
    sub_batches: int  # normalised apart, keys shuffled among them: the GPUs of the paper


@dataclass(frozen=True)
class Augmentation:
    """RandAugment: operations a picture, and the strongest bin of 30 that is drawn."""

    operations: int
    strongest: int


@dataclass(frozen=True)
class Descent:
    """The rate falls in a straight line to nothing after a warm-up."""

    optimizer: str  # sgd, the paper's, or adamw, which gets further in short runs
    batch: int
    learning_rate: float
    momentum: float  # of sgd
    weight_decay: float
    warmup_faces: int


@dataclass(frozen=True)
class Study:
    rounds: tuple[str, ...]  # that all students are trained on
    faces_seen: int  # by each trained student; a pair of views counts as one face
    embedding_width: int  # the teacher's, so that all students are of one size
    contrast: Contrast
    augmentation: Augmentation
    descent: Descent
