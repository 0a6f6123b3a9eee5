"""The page's section on drift: complete, self-contained, and without photographs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.attributes.coverage import FaceSet
from eval.drift import drift
from eval.reporting.drift_section import drift_figure, drift_section, number, range_of, shares
from eval.reporting.style import picture
from manifests.core.layout import manifest as manifest_path
from manifests.records.attributes import FACES, Attribute, AttributeTable, Source
from manifests.settings.params import Params
from manifests.stores.latents import LatentManifest
from manifests.stores.rounds import open_round
from tests.conftest import ROOT
from tests.manifests.records.test_attributes import photographs_table
from tests.test_flow import STAGES
from tests.toys import make_round

YAW = Attribute("yaw", "degrees", -90.0, 90.0, (-45.0, -15.0, 15.0, 45.0), "to the right")


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Synthetic faces look to the left, photographs to both sides."""
    monkeypatch.chdir(tmp_path)
    faces, _ = make_round("pool", 60, failed=0.0)
    ids = LatentManifest.read(manifest_path("pool")).face_id
    values = np.where(np.arange(60) < 58, -20, 20).astype(np.float32)[:, None]
    annotator = {"name": "toy", "version": "1"}
    synthetic = AttributeTable(
        annotator, Source(FACES, "pool", faces.root), (YAW,), values, ids, None, ("",) * 60
    )
    real = photographs_table(np.tile([-20.0, 20.0], 30))
    real = AttributeTable(**{**vars(real), "attributes": (YAW,)})
    return drift([FaceSet("orl", (real,))], FaceSet("synthetic", (synthetic,)))


def render(content: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(ROOT / "eval" / "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("drift.html.jinja").render(drift=content)


def test_the_section_shows_figures_divergences_and_faces(report: dict[str, Any]) -> None:
    content = drift_section(report, {"pool": open_round("pool", "toy")}, {"orl": "ORL"})
    assert content is not None
    html = render(content)
    assert "Beside ORL, 60 photographs" in html
    assert "Yaw 15 to 45 degrees" in html
    assert len(re.findall("<img ", html)) == len(re.findall(' alt="[^"]{10,}"', html)) == 2
    assert not re.search(r'(src|href)="(?!data:image/)', html)
    assert "s1/1.pgm" not in html  # nobody's photograph is named


def test_the_text_alternative_says_what_differs(report: dict[str, Any]) -> None:
    content = drift_section(report, {})
    assert content is not None
    expected = "Histograms of yaw. orl and the synthetic faces differ most in yaw, median 0.0 "
    assert content["alt"] == f"{expected}against -20.0 degrees."
    assert "No synthetic face that could be shown has it." in render(content)


def test_nothing_compared_is_no_section(report: dict[str, Any]) -> None:
    report["real"]["orl"]["attributes"] = {}
    assert drift_section(report, {}) is None


def test_the_figure_has_axes_for_every_attribute_and_a_legend(report: dict[str, Any]) -> None:
    figure = drift_figure(report["real"])
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in shown] == ["yaw"]
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == ["synthetic faces", "orl (real)"]
    assert picture(figure) == picture(drift_figure(report["real"]))


def test_shares_count_what_lies_beyond() -> None:
    np.testing.assert_allclose(shares([1, 2, 0, 1]), [0.5, 0.0])


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (None, 5.0, "Yaw below 5 degrees"), (5.0, None, "Yaw from 5 degrees"),
        (562.341, 1000.0, "Yaw 562.3 to 1,000 degrees"),
    ],
)  # fmt: skip
def test_bins_in_words(low: float | None, high: float | None, text: str) -> None:
    gap = {"attribute": "yaw", "unit": "degrees", "low": low, "high": high}
    assert range_of(gap) == text


def test_probabilities_are_told_with_more_digits() -> None:
    assert number(0.123, {"edges": [0.0, 1.0]}) == "0.12"
    assert number(1234.56, {"edges": [0.0, 2000.0]}) == "1,234.6"


def test_the_flow_compares_every_round_that_is_annotated(params: Params) -> None:
    assert STAGES["annotate-mined"]["foreach"] == "${mined}"
    assert [*STAGES["annotate"]["foreach"], *params.mined] == params.trained_rounds
    assert "--synthetic" not in STAGES["drift"]["cmd"]  # by default those of the flow
