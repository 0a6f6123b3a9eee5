"""Parameters of the study attribute-drift."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Labelled:
    """Somebody's labels, and the faces that they are of."""

    table: str  # CSV or Parquet: image or face_id, perhaps subject, a column an attribute
    faces: str  # a round, orl, pairs:DIR or folder:DIR
    attributes: tuple[str, ...]  # only these; () is all, which are then of MAAD-Face's 47


@dataclass(frozen=True)
class HeadSettings:
    """How attribute heads are trained, and which of them are used."""

    architecture: str  # mac, mac-256 or linear
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    held_out: float  # share of the people, or of the faces where nobody is named
    floor: float  # balanced accuracy on them below which a head is not used
    seed: int


@dataclass(frozen=True)
class Study:
    rounds: tuple[str, ...]
    real: tuple[str, ...]
    annotators: tuple[str, ...]
    attributes: tuple[str, ...]
    labels: Labelled | None
    heads: HeadSettings
