"""Parameters of the study attribute-drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from manifests.settings.heads import HeadSettings


@dataclass(frozen=True)
class Labelled:
    """Somebody's labels, and the faces that they are of."""

    table: str  # CSV or Parquet: image or face_id, perhaps subject, a column an attribute
    faces: str  # a round, orl, pairs:DIR or folder:DIR
    attributes: tuple[str, ...]  # only these; () is all, which are then of MAAD-Face's 47


Kind = Literal["real", "synthetic"]


@dataclass(frozen=True)
class NamedSet:
    """What counts as one set in the matrix of all sets."""

    kind: Kind
    faces: tuple[str, ...]  # rounds, orl, pairs:DIR, folder:DIR, tables of facestill annotate


@dataclass(frozen=True)
class Study:
    rounds: tuple[str, ...]
    real: tuple[str, ...]
    annotators: tuple[str, ...]
    attributes: tuple[str, ...]
    labels: Labelled | None
    heads: HeadSettings
    sets: Mapping[str, NamedSet] = field(default_factory=dict)  # {}: each of `real` and `rounds`
