"""The switch: all of it is said, or none of it; and no file that is shipped says it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from manifests.core.errors import InputError
from manifests.core.parsing import parse
from manifests.settings.params import Params
from manifests.settings.real_faces import RealFaces
from tests.conftest import ROOT

SAID = {"folder": "photographs", "allow": True, "statement": "twelve volunteers", "licence": "own"}


def test_folder_switch_statement_and_licence_are_said_together() -> None:
    found = parse(RealFaces, SAID, "params.yaml: real_faces")
    assert found.allowed == "twelve volunteers"
    assert parse(RealFaces, {}, "w").allowed is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"allow": False}, "folder photographs without allow: true; students are trained on phot"),
        ({"folder": None}, "allow: true without a folder; name one"),
        ({"statement": None}, "say in statement whose faces those of photographs are"),
        ({"statement": ""}, "say in statement whose faces those of photographs are"),
        ({"licence": None}, "and under which licence"),
        ({"alow": True}, "unknown key 'alow'"),
    ],
)
def test_what_is_said_by_halves_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"params.yaml: real_faces: .*{message}"):
        parse(RealFaces, SAID | change, "params.yaml: real_faces")


def test_nothing_that_is_shipped_allows_photographs(params: Params) -> None:
    assert params.real_faces == RealFaces()
    for path in sorted((ROOT / "params").rglob("*.yaml")):
        assert "real_faces" not in yaml.safe_load(path.read_text(encoding="utf-8")), path
