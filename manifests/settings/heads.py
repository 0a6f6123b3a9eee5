"""How attribute heads are trained: `facestill heads`, and studies that train some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval


@dataclass(frozen=True)
class HeadSettings:
    """How attribute heads are trained, and which of them are used."""

    architecture: Literal["mac", "mac-256", "linear"]
    epochs: Annotated[int, Interval(ge=1, le=10_000)]
    batch: Annotated[int, Interval(ge=2, le=1 << 20)]
    learning_rate: Annotated[float, Interval(ge=1e-9, le=10.0)]
    weight_decay: Annotated[float, Interval(ge=0.0, le=10.0)]
    # share of the people, or of the faces where nobody is named
    held_out: Annotated[float, Interval(ge=0.01, le=0.9)]
    # balanced accuracy on them below which a head is not used
    floor: Annotated[float, Interval(ge=0.5, le=1.0)]
    seed: Annotated[int, Interval(ge=0, le=1 << 31)]


DEFAULTS = HeadSettings("mac", 40, 256, 1e-3, 0.01, 0.2, 0.75, 8)
