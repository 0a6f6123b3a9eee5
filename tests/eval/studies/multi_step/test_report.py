"""The study multi-step's report, and what it shares with every study that trains its teachers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval import study_page
from eval.photos.models import Model
from eval.studies.multi_step import report as shared
from eval.studies.multi_step.report import PAIRS, Arms, load_arms, report_of
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import write_json
from manifests.settings.objectives import Losses
from manifests.settings.params import load_params
from manifests.settings.study import load_study
from manifests.studies.multi_step import (
    ARMS,
    NAME,
    STUDENTS,
    TEACHER,
    TEACHERS,
    Study,
    check_study,
    run_of,
)
from pipeline.arrays.frames import ARCFACE112
from tests.conftest import ROOT
from tests.eval.studies.training_sets.test_report import CARD, figures
from train.checkpoint import FILE, LOG, load_student, save_student
from train.students import build_student

SEEDS = (1, 2)
ACCURACY = {
    "no-kd": (0.60, 0.62), "single-step": (0.66, 0.70), "multi-step": (0.72, 0.74),
    TEACHER: (0.80, 0.82),
}  # fmt: skip
OF = Arms(NAME, ARMS, (TEACHER,), PAIRS)


def make_run(study: str, role: str, arm: str, seed: int, faces_seen: int = 640) -> None:
    folder = layout.study_run(study, run_of(role, arm, seed))
    network = build_student(CARD.name, input_size=16, width=CARD.width, embedding_width=8)
    stores = json.dumps({"data/identities/faces.zarr": "ef" * 32})
    save_student(folder / FILE, network, replace(CARD, stores=stores, faces_seen=faces_seen))
    chosen = {"rounds": {"identities": {"faces": 100, "identities": 20}}, "rows_sha256": "12" * 32}
    made = {"sha256": load_student(folder).sha256, "num_params": 1000}
    write_json(folder / LOG, {"student": made, "train_seconds": 2.5, "params": {"chosen": chosen}})


def verified(accuracy: dict[str, tuple[float, ...]] = ACCURACY) -> dict[str, Any]:
    runs = {
        f"{arm}/{seed}": figures(value)
        for arm, values in accuracy.items()
        for seed, value in zip(SEEDS, values, strict=True)
    }
    own = {"protocol_sha256": "ab" * 32, "num_pairs": 1200}
    return {"orl": {**own, "figures": {**runs, "teacher": figures(0.9)}}}


def lay_out() -> None:
    shutil.copytree(ROOT / "params", "params")
    shutil.copy(ROOT / "params.yaml", "params.yaml")


def study_of() -> Study:
    return replace(load_study(NAME, Study), seeds=SEEDS)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("multi-step")
    teacher = Model("teacher:toy", "cd" * 32, ARCFACE112, "cosine", False, lambda x: x)
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        lay_out()
        for seed in SEEDS:
            make_run(NAME, TEACHERS, TEACHER, seed, 900)  # its own faces are its own affair
            for arm in ARMS:
                make_run(NAME, STUDENTS, arm, seed)
        patch.setattr(shared, "open_protocols", lambda *_: {})
        patch.setattr(shared, "verify_all", lambda *_: verified())
        patch.setattr(shared, "load_model", lambda *_: teacher)
        report_of(OF, load_params(), study_of()).write()
        yield root


@pytest.fixture
def report(workspace: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(layout.study_report(NAME).read_text())
    return written


def test_differences_are_those_of_the_paper_and_by_seed(report: dict[str, Any]) -> None:
    compared = report["found"]["benchmarks"]["orl"]["compared"]
    assert [(own["arm"], own["other"]) for own in compared] == list(PAIRS)
    values = {(own["arm"], own["other"]): own["less"]["by_seed"] for own in compared}
    assert values["multi-step", "single-step"] == pytest.approx([0.06, 0.04])
    assert all(own["less"]["ci95_seeds"] for own in compared)


def test_every_run_is_traceable(report: dict[str, Any]) -> None:
    for role, arms in ((STUDENTS, ARMS), (TEACHERS, (TEACHER,))):
        for arm in arms:
            folder = layout.study_run(NAME, run_of(role, arm, 2))
            assert report["made_from"][folder.as_posix()] == load_student(folder).sha256
    assert report["made_from"]["data/identities/faces.zarr"] == "ef" * 32
    assert "verify: pairs" in report["not_measured"]["Photograph pairs of your own"]


def test_its_section_shows_all_arms(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["study_page"])
    study_page.main()
    page = study_page.PAGE.read_text()
    for text in (*ACCURACY, "Differences that the study is about", "2 seeds each", "+5.0"):
        assert text in page


def test_students_of_unlike_lessons_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arm in ARMS:
        make_run(NAME, STUDENTS, arm, 1, 640 if arm == "no-kd" else 320)
    make_run(NAME, TEACHERS, TEACHER, 1)
    with pytest.raises(InputError, match="students that saw unlike numbers of faces"):
        load_arms(OF, [1])
    with pytest.raises(InputError, match="no student here"):
        load_arms(OF, [2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": ("probe",)}, "rounds probe: name at least one"),
        ({"margin": Losses.parsed("cosine", "")}, "margin: expected one margin"),
        ({"distillation": Losses.parsed("arcface", "")}, "distillation: expected losses of a"),
        ({"seeds": (1, 1)}, r"seeds \[1, 1\]: name at least one, and none twice"),
    ],
)
def test_what_no_training_can_have_is_refused(changes: dict[str, Any], message: str) -> None:
    with chdir(ROOT):
        study = load_study(NAME, Study)
    check_study(study)
    with pytest.raises(InputError, match=message):
        check_study(replace(study, **changes))
