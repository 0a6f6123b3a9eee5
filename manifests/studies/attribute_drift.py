"""Parameters of the study attribute-drift."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.settings.heads import HeadSettings


@dataclass(frozen=True)
class Labelled:
    """Somebody's labels, and the faces that they are of."""

    table: str  # CSV or Parquet: image or face_id, perhaps subject, a column an attribute
    faces: str  # a round, orl, pairs:DIR or folder:DIR
    attributes: tuple[str, ...]  # only these; () is all, which are then of MAAD-Face's 47


@dataclass(frozen=True)
class Study:
    rounds: tuple[str, ...]
    real: tuple[str, ...]
    annotators: tuple[str, ...]
    attributes: tuple[str, ...]
    labels: Labelled | None
    heads: HeadSettings
