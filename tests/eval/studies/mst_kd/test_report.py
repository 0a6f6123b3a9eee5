"""The study mst-kd's report: specialists, their control and one teacher; bias beside accuracy."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval import study_page
from eval.photos.models import Model
from eval.studies.mst_kd import report as mst_kd
from eval.studies.mst_kd.report import BIAS, PAIRS, report
from eval.studies.multi_step import report as shared
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import load_params
from manifests.settings.study import load_study
from manifests.studies.mst_kd import ARMS, NAME, Groups, Study, check_study, fused_of, teachers_of
from manifests.studies.multi_step import STUDENTS, TEACHERS
from pipeline.arrays.frames import ARCFACE112
from tests.conftest import ROOT
from tests.eval.studies.multi_step.test_report import SEEDS, lay_out, make_run, verified

GROUPS = Groups("region", 2)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    lay_out()
    return replace(load_study(NAME, Study), seeds=SEEDS, groups=GROUPS)


def bias(study: Study) -> dict[str, Any]:
    figure = {"value": 0.1, "by_seed": [0.1, 0.1], "ci95_seeds": None, "ci95_identity": [0.0, 0.2]}
    arms = {
        arm: dict.fromkeys(BIAS[:2], figure) | {"ser": None} for arm in (*ARMS, *teachers_of(study))
    }
    less = {"value": -0.025, "by_seed": [-0.025, -0.025], "ci95_seeds": [-0.03, -0.02]}
    compared = [{"arm": arm, "other": other, "less": less} for arm, other in PAIRS]
    own = {"basis": "brightness", "groups_sha256": "34" * 32}
    return {"orl": {**own, "arms": arms, "compared": compared}}


def test_it_sets_specialists_beside_their_control(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [*ARMS, *teachers_of(study)]
    for role, names in ((STUDENTS, ARMS), (TEACHERS, teachers_of(study))):
        for arm in names:
            for seed in SEEDS:
                make_run(NAME, role, arm, seed)
    teacher = Model("teacher:toy", "cd" * 32, ARCFACE112, "cosine", False, lambda x: x)
    accuracy = {arm: (0.6 + 0.01 * at, 0.62 + 0.01 * at) for at, arm in enumerate(arms)}
    monkeypatch.setattr(shared, "open_protocols", lambda *_: {})
    monkeypatch.setattr(shared, "verify_all", lambda *_: verified(accuracy))
    monkeypatch.setattr(shared, "load_model", lambda *_: teacher)
    monkeypatch.setattr(mst_kd, "biases", lambda *_: bias(study))
    report(load_params(), study).write()
    found = json.loads(layout.study_report(NAME).read_text())
    compared = found["found"]["benchmarks"]["orl"]["compared"]
    assert [(own["arm"], own["other"]) for own in compared] == list(PAIRS)
    assert found["made_from"]["groups of orl"] == "34" * 32
    monkeypatch.setattr("sys.argv", ["study_page"])
    study_page.main()
    page = study_page.PAGE.read_text()
    for text in (*arms, "Bias between groups of people: ORL, brightness", "(by region)", "-2.5"):
        assert text in page


def test_teachers_are_one_of_all_and_two_kinds_of_parts(study: Study) -> None:
    found = teachers_of(study)
    assert found.pop("single") is None
    assert [*found] == [*fused_of(study, "balanced"), *fused_of(study, "specialised")]
    assert {(own.by, own.part) for own in found.values() if own} == {
        (rule, part) for rule in ("balanced", "region") for part in range(2)
    }


@pytest.mark.parametrize("groups", [Groups("balanced", 4), Groups("region", 1)])
def test_what_makes_no_specialist_is_refused(groups: Groups) -> None:
    with chdir(ROOT):
        study = load_study(NAME, Study)
    check_study(study)
    with pytest.raises(InputError, match=r"groups: \d by \w+: specialists are of two groups"):
        check_study(replace(study, groups=groups))
