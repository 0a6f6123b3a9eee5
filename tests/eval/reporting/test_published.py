"""Published rows, as the report shows them."""

from __future__ import annotations

import pytest

from eval.reporting.published import printed, published_section
from manifests.core import layout
from manifests.settings.suite import load_suite
from tests.conftest import ROOT


def test_every_suite_with_published_rows_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = {suite["name"]: suite for suite in published_section()}
    files = {path.stem: load_suite(path) for path in layout.SUITES.glob("*.yaml")}
    assert set(found) == {name for name, suite in files.items() if suite.reference}
    assert all(len(own["rows"]) == len(files[name].reference) for name, own in found.items())
    assert all(source and figures for own in found.values() for _, source, figures in own["rows"])


def test_a_figure_is_named_where_a_suite_has_several() -> None:
    one, several = (load_suite(ROOT / layout.SUITES / f"{n}.yaml") for n in ("synthdistill", "ijb"))
    assert printed(one.reference[0], one) == "LFW 99.52"
    text = "TAR at FAR 0.01 %: IJB-B 94.82, IJB-C 96.27"
    assert printed(several.reference[0], several) == text
