"""Plain values of a YAML file as frozen dataclasses; an unknown key, a wrong type or a value
outside the field's bound is an error."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from manifests.core.bounds import check_bound
from manifests.core.errors import InputError

LATER = {"later": True}  # metadata of a field that came later, whose default is what was before
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def parse(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: a dataclass, a mapping or tuple of them, an optional or a plain type.

    A dataclass that may be written in several ways has a class method `parsed(value, where)`.
    """
    if hasattr(kind, "parsed"):
        return kind.parsed(value, where)
    if is_dataclass(kind):
        return parse_fields(kind, value, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        found = parse(inner[0], value, where)
        check_bound(found, inner[1], where)
        return found
    if origin is Literal:
        if value not in inner:
            raise InputError(f"{where}: {value!r}, expected one of {', '.join(inner)}")
        return value
    if origin in (Union, types.UnionType):
        options = [option for option in inner if option is not type(None)]
        return None if value is None else parse(options[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: {value!r}, expected a list")
        return tuple(parse(inner[0], item, f"{where}[{at}]") for at, item in enumerate(value))
    if origin is not None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: {value!r}, expected a section with keys")
        for key in value:  # 1, or yes, is none in YAML
            if not isinstance(key, str):
                raise InputError(f"{where}: key {key!r} is a {type(key).__name__}; quote a name")
        return {key: parse(inner[1], item, f"{where}: {key}") for key, item in value.items()}
    return _plain(kind, value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise InputError(f"{where}: {str(value)[:20]}… is no number of float") from None
    if kind is float and isinstance(value, str) and EXPONENT.fullmatch(value):
        value = float(
            value
        )  # 2e-3: a number of YAML 1.2, which DVC and editors read, a text of 1.1
    if type(value) is not kind:
        raise InputError(f"{where}: {value!r} is a {type(value).__name__}, not {kind.__name__}")
    if kind is float and not math.isfinite(value):
        raise InputError(f"{where}: {value} is not a finite number")
    return value


def parse_fields(kind: Any, value: Any, where: str) -> Any:
    """A dataclass from a section with its fields' names as keys."""
    return kind(**parse_keys(forms_of(kind), required_of(kind), value, where))


def parse_keys(
    forms: Mapping[str, Any], required: Sequence[str], value: Any, where: str
) -> dict[str, Any]:
    """The keys of a section, each by its type in `forms`, in that order."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: {value!r}, expected a section with keys")
    unknown = sorted(set(value) - set(forms), key=str)
    missing = sorted(set(required) - set(value))
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; known keys: {', '.join(forms)}")
    if missing:
        raise InputError(f"{where}: missing key {missing[0]!r}")
    return {
        name: parse(form, value[name], f"{where}: {name}")
        for name, form in forms.items()
        if name in value
    }


def forms_of(kind: Any) -> dict[str, Any]:
    """{field: type} of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def required_of(kind: Any) -> list[str]:
    """The keys that a section of that dataclass must have."""
    return [
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    ]


def told(value: Any) -> Any:
    """Plain values of a dataclass, as `asdict` has them, without the LATER fields that hold their
    default: what was told, and hashed, before there were such fields is told so still."""
    if isinstance(value, Mapping):
        return {key: told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    if not is_dataclass(value):
        return value
    found = {field: getattr(value, field.name) for field in fields(value)}
    return {
        field.name: told(item)
        for field, item in found.items()
        if not (field.metadata == LATER and item == field.default)
    }
