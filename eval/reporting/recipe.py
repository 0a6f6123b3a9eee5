"""The parameters of a run, for the report: all of them, and what differs from those that come
with Facestill."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from manifests.settings.params import Params
from manifests.settings.schema import default_params

ASIDE = {"verify", "leakage"}  # name folders of the user's own
ABSENT = "–"


def recipe_section(params: Params) -> dict[str, Any]:
    """`changed` is None where nobody knows what comes with Facestill."""
    own, default = _shown(params.recipe), default_params()
    return {
        "text": yaml.safe_dump(own, sort_keys=False),
        "changed": None if default is None else changed(own, _shown(default)),
    }


def changed(own: Mapping[str, Any], default: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, value, default) of every value that differs or that one of them lacks; a list is one
    value."""
    values, defaults = dict(_leaves(own)), dict(_leaves(default))
    return [
        (key, values.get(key, ABSENT), defaults.get(key, ABSENT))
        for key in {**values, **defaults}
        if values.get(key) != defaults.get(key)
    ]


def _shown(recipe: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(recipe))  # tuples are lists, as in a file
    return {name: value for name, value in plain.items() if name not in ASIDE}


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, json.dumps(value, sort_keys=True)
