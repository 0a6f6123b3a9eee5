"""Plain values of a YAML file as frozen dataclasses; an unknown key or wrong type is an error.

What a number may be goes by its key's name, for all sections alike.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from manifests.core.errors import InputError

POSITIVE = {
    "frame_size", "detect_size", "references", "neighbours", "per_side", "input_size", "batch",
    "embedding_width", "projected_from", "pool_rows", "regions", "shard_rows", "points_per_region",
    "parent_cap", "region_cap", "hard_share", "impostors", "weight", "scale", "temperature",
    "thresholds", "hardest", "group_step", "parts", "epochs", "clip", "mass", "running_share",
    "readers", "drop_factor", "beta", "taught",
}  # fmt: skip
SHARES = {
    "prior_share", "region_cap", "hard_share", "false_discovery_rate", "mass", "running_share",
}  # fmt: skip
NOT_NEGATIVE = {
    "shrinkage", "coefficient", "near_step", "walk_step", "least_distance", "least_spread",
    "least_gain", "margin", "margin_spread", "concentration", "positive_weight", "negative_weight",
    "primary_weight", "ramp_epochs", "clip_norm", "ema", "momentum", "crop", "low_resolution",
    "blur", "hue",
}  # fmt: skip
STEPS = {"coefficient", "near_step", "walk_step"}
LONGEST_STEP = 1000.0  # standard deviations of a latent: beyond it, nothing of a parent is left


def parse(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: a dataclass, a mapping or tuple of them, an optional or a plain type.

    A dataclass that may be written in several ways has a class method `parsed(value, where)`.
    """
    if hasattr(kind, "parsed"):
        return kind.parsed(value, where)
    if is_dataclass(kind):
        return parse_fields(kind, value, where)
    if get_origin(kind) in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        return None if value is None else parse(options[0], value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: {value!r}, expected a list")
        inner = get_args(kind)[0]
        return tuple(parse(inner, item, f"{where}[{at}]") for at, item in enumerate(value))
    if get_origin(kind) is not None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: {value!r}, expected a section with keys")
        inner = get_args(kind)[1]
        return {key: parse(inner, item, f"{where}: {key}") for key, item in dict(value).items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise InputError(f"{where}: {value!r} is a {type(value).__name__}, not {kind.__name__}")
    if kind is int and (value < 0 or (value == 0 and where.rpartition(": ")[2] in POSITIVE)):
        raise InputError(f"{where}: {value}, expected {'at least 1' if value == 0 else 'no minus'}")
    if kind is float:
        _check_range(value, where)
    return value


def _check_range(value: float, where: str) -> None:
    name = where.rpartition(": ")[2]
    if not math.isfinite(value):
        raise InputError(f"{where}: {value} is not a finite number")
    if name in NOT_NEGATIVE and value < 0:
        raise InputError(f"{where}: {value:g}, expected no minus")
    if value <= 0 and name in POSITIVE - SHARES:
        raise InputError(f"{where}: {value:g}, expected more than 0")
    if name in STEPS and value > LONGEST_STEP:
        raise InputError(f"{where}: {value:g}, expected at most {LONGEST_STEP:g}")
    if name in SHARES and not (0 <= value <= 1 and (value or name not in POSITIVE)):
        low = "above 0 and up to 1" if name in POSITIVE else "in 0..1"
        raise InputError(f"{where}: {value:g}, expected a share {low}")


def parse_fields(kind: Any, value: Any, where: str) -> Any:
    """A dataclass from a section with its fields' names as keys."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: {value!r}, expected a section with keys")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    unknown, missing = sorted(set(value) - set(names)), sorted(set(needed) - set(value))
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; known keys: {', '.join(names)}")
    if missing:
        raise InputError(f"{where}: missing key {missing[0]!r}")
    given = {name: value[name] for name in names if name in value}
    return kind(
        **{name: parse(hints[name], item, f"{where}: {name}") for name, item in given.items()}
    )
