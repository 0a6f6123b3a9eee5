"""The study USynthFace's report: fair comparisons only, intervals, and its section of the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval import study_page
from eval.studies.usynthface import report as usynthface
from eval.studies.usynthface.report import ARMS, apart, load_arms, report
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import load_params
from manifests.settings.study import load_study
from manifests.studies.usynthface import Study
from tests.results import PROTOCOL, people_table, write_result
from tests.study_students import CARD, lay_out_params, make_student
from train.checkpoint import FILE, StudentCard, load_student

# How noisy the fabricated scores of an arm are.
NOISE = {"untrained": 1.5, "augmentation": 0.45, "identities": 0.45, "distilled": 0.05}


def make_arm(arm: str, card: StudentCard) -> None:
    folder = layout.study_run("usynthface", arm)
    make_student(folder, card, seed=len(arm), num_faces=90, history=[])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four students, the second trained on a store, and the report of verifications made up."""
    root = tmp_path_factory.mktemp("usynthface")
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        lay_out()
        patch.setattr(usynthface, "verify_arms", fabricated)
        report(load_params(), load_study("usynthface", Study)).write()
        yield root


@pytest.fixture
def found(workspace: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(layout.study_report("usynthface").read_text())
    return written


def lay_out() -> None:
    lay_out_params()
    for arm in ARMS:
        seen = 0 if arm == "untrained" else 640
        make_arm(arm, replace(CARD, faces_seen=seen, training=f"like {arm}"))
    stores = json.dumps({"data/pool/faces.zarr": "ef" * 32})
    make_arm("augmentation", replace(CARD, stores=stores, training="without teacher and labels"))


def fabricated(students: Any, params: Any) -> list[str]:
    for arm, noise in NOISE.items():
        folder = layout.study_results("usynthface") / "orl" / arm
        write_result(folder, people_table(3, people=15, noise=noise))
    return ["orl"]


def test_every_figure_is_traceable_to_a_digest(found: dict[str, Any]) -> None:
    for arm in ARMS:
        folder = layout.study_run("usynthface", arm)
        assert found["made_from"][folder.as_posix()] == load_student(folder).sha256
    assert found["made_from"]["protocol of orl"] == PROTOCOL
    assert found["made_from"]["data/pool/faces.zarr"] == "ef" * 32
    assert "verify: pairs" in found["not_measured"]["Photograph pairs of your own"]


def test_arms_are_set_beside_both_ends(found: dict[str, Any]) -> None:
    own = found["found"]["benchmarks"]["orl"]
    assert set(own["less_untrained"]) == set(ARMS) - {"untrained"}
    gain = own["less_untrained"]["augmentation"]["accuracy"]
    figures = own["arms"]
    assert gain["value"] == pytest.approx(
        figures["augmentation"]["accuracy"] - figures["untrained"]["accuracy"]
    )
    assert gain["ci95_identity"][0] < gain["value"] < gain["ci95_identity"][1]
    assert own["less_distilled"]["untrained"]["accuracy"]["value"] < 0
    assert own["apart"]["distilled"]["accuracy_above_untrained"]


def test_apart_means_that_intervals_do_not_touch() -> None:
    base = {"accuracy_ci95_identity": [0.5, 0.7], "auc_ci95_identity": [0.55, 0.8]}
    above = {"accuracy_ci95_identity": [0.71, 0.8], "auc_ci95_identity": [0.79, 0.9]}
    assert apart(above, base) == {
        "above_chance": True, "accuracy_above_untrained": True, "auc_above_untrained": False,
    }  # fmt: skip
    assert not apart(base, base)["above_chance"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding_width": 16}, "students of unlike sizes"),
        ({"faces_seen": 320}, "students of unlike numbers of faces seen"),
    ],
)
def test_unlike_students_are_not_compared(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out()
    make_arm("distilled", replace(CARD, **change))
    with pytest.raises(InputError, match=message):
        load_arms()


def test_a_missing_student_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out()
    (layout.study_run("usynthface", "identities") / FILE).unlink()
    with pytest.raises(InputError, match=r"usynthface/identities/.*: no student here"):
        load_arms()


def test_its_section_shows_every_arm(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["study_page"])
    study_page.main()
    page = study_page.PAGE.read_text()
    for text in (*ARMS.values(), "without teacher and labels", "Not measured", "like untrained"):
        assert text in page
    assert "http" not in page.replace("http://www.w3.org", "")
