"""How attribute heads are trained: `facestill heads`, and studies that train some."""

from __future__ import annotations

from dataclasses import dataclass


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


DEFAULTS = HeadSettings("mac", 40, 256, 1e-3, 0.01, 0.2, 0.75, 8)
