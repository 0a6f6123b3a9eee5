"""A slow reading of JSON Schema: of the keywords that `manifests.settings.schema` writes. A whole
number is one that is written so: JSON Schema itself would take 2.0 for one."""

from __future__ import annotations

import operator
from typing import Any

TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
    "number": (int, float), "null": type(None),
}  # fmt: skip
LIMITS = {
    "minimum": operator.ge, "exclusiveMinimum": operator.gt, "maximum": operator.le,
    "exclusiveMaximum": operator.lt,
}  # fmt: skip
NO_RULE = {"description", "default", "$defs", "$schema"}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None) -> bool:
    """Does a value keep to a schema? A keyword that is not known here is an error."""
    root = schema if root is None else root
    return all(_holds(word, value, schema, root) for word in schema if word not in NO_RULE)


def _holds(word: str, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    rule = schema[word]
    if word == "type":
        return isinstance(value, TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool))
    if word in LIMITS:
        return not isinstance(value, int | float) or LIMITS[word](value, rule)
    if word == "enum":
        return value in rule
    if word == "anyOf":
        return any(fits(value, option, root) for option in rule)
    if word == "$ref":
        target = root
        for step in rule.removeprefix("#/").split("/"):
            target = target[step]
        return fits(value, target, root)
    if word == "minItems":
        return not isinstance(value, list) or len(value) >= rule
    if word == "items":
        return not isinstance(value, list) or all(fits(item, rule, root) for item in value)
    if not isinstance(value, dict):
        return word in ("properties", "required", "additionalProperties")
    if word == "required":
        return set(rule) <= set(value)
    if word == "properties":
        return all(fits(value[key], rule[key], root) for key in rule if key in value)
    assert word == "additionalProperties", word
    others = [value[key] for key in value if key not in schema.get("properties", {})]
    return not others if rule is False else all(fits(item, rule, root) for item in others)
