"""A gate of params.yaml: what it may be, and the rounds that it is of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from manifests.core.errors import InputError
from manifests.settings.leakage import Leakage
from manifests.settings.params import Params, load_params
from tests.conftest import ROOT

GATE = {"real": "folder:album", "most_alike": 0.01}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"most_alike": None}, "params: no limit; give most_above or most_alike, shares of faces"),
        ({"most_alike": 2.0}, "params: most_alike: 2, expected 0 to 1"),
        ({"identities": False}, "params: without identities nobody can say .* threshold_from"),
        ({"pairs": 0}, "params: pairs: 0, expected at least 1"),
        ({"photographs": "orl"}, "params: unknown key 'photographs'; known keys: real, rounds"),
    ],
)
def test_one_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Leakage.parsed(GATE | changes, "params")


def test_it_is_of_the_rounds_that_runs_learn_from_unless_it_names_some() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.leakage == {}
    gates = {
        "all": Leakage.parsed(GATE, "params"),
        "some": Leakage.parsed(GATE | {"rounds": ["pool"]}, "params"),
    }
    params = replace(params, leakage=gates)
    assert params.gate("all").rounds == tuple(params.trained_rounds)
    assert params.gate("some").rounds == ("pool",)
    with pytest.raises(InputError, match="unknown gate 'none'; valid names: all, some"):
        params.gate("none")


def test_its_name_is_that_of_a_folder() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match=r"leakage: '\.\./up': a name begins with a letter"):
        Params.parsed(values | {"leakage": {"../up": GATE}}, "params.yaml")
