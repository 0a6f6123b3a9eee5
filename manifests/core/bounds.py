"""What a number may be: stated beside the field, as its type. `batch: PositiveInt`.

`manifests.core.parsing` holds a value to its bound; the schema of params.yaml repeats it.
"""

from __future__ import annotations

import operator
from typing import Annotated

from annotated_types import Interval

from manifests.core.errors import InputError

Real = Annotated[float, Interval()]  # any finite number
NotNegative = Annotated[float, Interval(ge=0.0)]
Positive = Annotated[float, Interval(gt=0.0)]
Share = Annotated[float, Interval(ge=0.0, le=1.0)]
PositiveShare = Annotated[float, Interval(gt=0.0, le=1.0)]
InnerShare = Annotated[float, Interval(gt=0.0, lt=1.0)]  # neither none nor all
Decay = Annotated[float, Interval(ge=0.0, lt=1.0)]
Cosine = Annotated[float, Interval(ge=-1.0, le=1.0)]
Count = Annotated[int, Interval(ge=0)]
PositiveInt = Annotated[int, Interval(ge=1)]
Seed = Annotated[int, Interval(ge=0, le=(1 << 63) - 1)]  # what every generator takes

WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def limits_of(bound: Interval) -> dict[str, float | int]:
    """{ge, gt, le or lt: limit} of those that it states."""
    found = {name: getattr(bound, name) for name in WORDS}
    return {name: limit for name, limit in found.items() if limit is not None}


def check_bound(value: float | int, bound: Interval, where: str) -> None:
    """Raises InputError for a value outside."""
    limits = limits_of(bound)
    if all(getattr(operator, name)(value, limit) for name, limit in limits.items()):
        return
    said = {name: _shown(limit) for name, limit in limits.items()}
    expected = " and ".join(f"{WORDS[name]} {limit}" for name, limit in said.items())
    if set(said) == {"ge", "le"}:
        expected = f"{said['ge']} to {said['le']}"
    raise InputError(f"{where}: {_shown(value)}, expected {expected}")


def _shown(value: float | int) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
