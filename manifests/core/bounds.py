"""What a number may be: stated beside the field, as its type. `batch: PositiveInt`.

`manifests.core.parsing` holds a value to its bound; the schema of params.yaml repeats it.
"""

from __future__ import annotations

import operator
from typing import Annotated

from annotated_types import Interval

from manifests.core.errors import InputError

MOST = 2**31 - 1  # rows have 32 bits of a face's id; a number of anything else is far below
MOST_SEED = 2**32 - 1  # that every library takes
LARGEST = 1e38  # all arithmetic is done in float32 somewhere, which ends at 3.4e38
Real = Annotated[float, Interval(ge=-LARGEST, le=LARGEST)]
NotNegative = Annotated[float, Interval(ge=0.0, le=LARGEST)]
Positive = Annotated[float, Interval(gt=0.0, le=LARGEST)]
Share = Annotated[float, Interval(ge=0.0, le=1.0)]
PositiveShare = Annotated[float, Interval(gt=0.0, le=1.0)]
InnerShare = Annotated[float, Interval(gt=0.0, lt=1.0)]  # neither none nor all
Decay = Annotated[float, Interval(ge=0.0, lt=1.0)]
Cosine = Annotated[float, Interval(ge=-1.0, le=1.0)]
Count = Annotated[int, Interval(ge=0, le=MOST)]
PositiveInt = Annotated[int, Interval(ge=1, le=MOST)]
Seed = Annotated[int, Interval(ge=0, le=MOST_SEED)]

WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def limits_of(bound: Interval) -> dict[str, float | int]:
    """{ge, gt, le or lt: limit} of those that it states."""
    found = {name: getattr(bound, name) for name in WORDS}
    return {name: limit for name, limit in found.items() if limit is not None}


def check_bound(value: float | int, bound: Interval, where: str) -> None:
    """Raises InputError for a value outside."""
    limits = limits_of(bound)
    missed = {name: own for name, own in limits.items() if not getattr(operator, name)(value, own)}
    if not missed:
        return
    if limits.get("le") in (MOST, MOST_SEED, LARGEST):  # an end that hardly anyone meets
        limits = missed
    said = {name: _shown(limit) for name, limit in limits.items()}
    expected = " and ".join(f"{WORDS[name]} {limit}" for name, limit in said.items())
    if set(said) == {"ge", "le"}:
        expected = f"{said['ge']} to {said['le']}"
    raise InputError(f"{where}: {_shown(value)}, expected {expected}")


def _shown(value: float | int) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
