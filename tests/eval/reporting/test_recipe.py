"""What differs from the parameters that come with Facestill."""

from __future__ import annotations

from eval.reporting.recipe import ABSENT, changed, recipe_section
from manifests.settings.params import Params


def test_nothing_differs_from_itself(params: Params) -> None:
    assert changed(params.recipe, params.recipe) == []


def test_values_keys_and_lists_that_differ_are_told_by_their_place() -> None:
    own = {"a": {"b": 1, "c": [1, 2]}, "only": {"here": None}, "d": {}}
    default = {"a": {"b": 2, "c": [1]}, "there": "x", "d": {}}
    assert changed(own, default) == [
        ("a.b", "1", "2"),
        ("a.c", "[1, 2]", "[1]"),
        ("only.here", "null", ABSENT),
        ("there", ABSENT, '"x"'),
    ]


def test_the_order_of_keys_is_no_difference() -> None:
    assert changed({"terms": [{"a": 1, "b": 2}]}, {"terms": [{"b": 2, "a": 1}]}) == []


def test_folders_of_the_user_are_not_shown(params: Params, workspace: object) -> None:
    section = recipe_section(params)
    assert section["changed"] == []  # the workspace has the schema of the tree
    assert "pairs" not in section["text"] and "leakage" not in section["text"]
