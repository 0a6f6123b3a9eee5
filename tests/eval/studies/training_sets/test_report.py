"""The study training-sets' report: equal students only, differences by seed, its section."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from eval import study_page
from eval.photos.models import Model
from eval.studies.training_sets import report as training_sets
from eval.studies.training_sets.report import benchmark_report, load_students, report
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import write_json, write_text
from manifests.settings.params import load_params, read_yaml
from manifests.settings.study import load_study, read_report
from manifests.studies.training_sets import NAME, Study, TrainingSet, check_study, run_of
from pipeline.arrays.frames import ARCFACE112
from tests.conftest import ROOT
from tests.toys import make_round
from train.checkpoint import FILE, LOG, StudentCard, load_student, save_student
from train.students import build_student

CARD = StudentCard(
    name="small-resnet", input_size=16, width=0.125, embedding_width=8, frame="arcface112",
    metric="cosine", views="plain+flip", stores="{}", params_sha256="0" * 64,
    git_commit="unknown", faces_seen=640,
)  # fmt: skip
SETS = {
    "drawn": {"rounds": ["pool"]},
    "turned": {"rounds": ["more"], "before": "drawn"},
}
ACCURACY = {"drawn": (0.70, 0.74), "turned": (0.80, 0.82)}


def make_student(name: str, seed: int, card: StudentCard = CARD, num_faces: int = 100) -> None:
    folder = layout.study_run(NAME, run_of(name, seed))
    network = build_student(card.name, input_size=16, width=card.width, embedding_width=8)
    (round,) = SETS[name]["rounds"]
    stores = json.dumps({layout.faces(round).as_posix(): "ef" * 32})
    save_student(folder / FILE, network, replace(card, stores=stores))
    drawn = {"rounds": {round: {"faces": num_faces, "identities": 0}}, "rows_sha256": "12" * 32}
    made = {"sha256": load_student(folder).sha256, "num_params": 1000}
    log = {"student": made, "num_faces": num_faces, "train_seconds": 2.5}
    write_json(folder / LOG, {**log, "params": {"chosen": drawn}})


def lay_out() -> None:
    shutil.copytree(ROOT / "params", "params")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    values = read_yaml(layout.study_params(NAME))
    recipe = {**values["recipe"], "faces_seen": 650, "batch": 64}
    own = {**values, "sets": SETS, "faces": 100, "seeds": [1, 2], "recipe": recipe}
    write_text(layout.study_params(NAME), yaml.safe_dump(own))
    for at, name in enumerate(SETS):
        make_round(SETS[name]["rounds"][0], 40, seed=at)
        for seed in (1, 2):
            make_student(name, seed)


def figures(accuracy: float) -> dict[str, Any]:
    return {
        name: {"value": value, "ci95_identity": [value - 0.05, value + 0.05]}
        for name, value in (("accuracy", accuracy), ("auc", accuracy + 0.05), ("eer", 0.2))
    }


def verified() -> dict[str, Any]:
    runs = {
        run_of(name, seed): figures(value)
        for name, values in ACCURACY.items()
        for seed, value in zip((1, 2), values, strict=True)
    }
    own = {"protocol_sha256": "ab" * 32, "num_pairs": 1200}
    return {"orl": {**own, "figures": {**runs, "teacher": figures(0.9)}}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("training-sets")
    teacher = Model("teacher:toy", "cd" * 32, ARCFACE112, "cosine", False, lambda x: x)
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        lay_out()
        patch.setattr(training_sets, "verify_all", lambda *_: verified())
        patch.setattr(training_sets, "load_model", lambda *_: teacher)
        report(load_params(), load_study(NAME, Study)).write()
        yield root


@pytest.fixture
def found(workspace: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(layout.study_report(NAME).read_text())
    return written


def test_the_best_set_stands_first_and_differences_are_by_seed(found: dict[str, Any]) -> None:
    own = found["found"]["benchmarks"]["orl"]
    assert own["order"] == ["turned", "drawn"]
    assert own["sets"]["turned"]["accuracy"]["value"] == pytest.approx(0.81)
    gap = own["less_first"]["drawn"]
    assert gap["by_seed"] == pytest.approx([-0.10, -0.08])
    half = 12.7062 * np.std([0.10, 0.08], ddof=1) / np.sqrt(2)  # Student's t of two seeds
    assert gap["ci95_seeds"] == pytest.approx([-0.09 - half, -0.09 + half], abs=1e-4)
    assert own["less_before"]["turned"]["value"] == pytest.approx(0.09)
    assert [*own["less_before"]] == ["turned"]


def test_every_figure_is_traceable_to_a_digest(found: dict[str, Any]) -> None:
    for name in SETS:
        for seed in (1, 2):
            folder = layout.study_run(NAME, run_of(name, seed))
            assert found["made_from"][folder.as_posix()] == load_student(folder).sha256
    assert found["made_from"]["protocol of orl"] == "ab" * 32
    assert found["made_from"]["data/more/faces.zarr"] == "ef" * 32


def test_what_stands_empty_says_why(found: dict[str, Any]) -> None:
    missing = found["not_measured"]
    for name in ("Drift", "Leakage", "Quality of the identities", "Cost"):
        assert missing[f"{name} of drawn, turned"]
    assert "verify: pairs" in missing["Photograph pairs of your own"]


@pytest.mark.parametrize(("card", "num_faces"), [(replace(CARD, faces_seen=320), 100), (CARD, 90)])
def test_unlike_students_are_not_compared(
    card: StudentCard, num_faces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out()
    make_student("turned", 2, card, num_faces)
    with pytest.raises(InputError, match=r"turned/2: \d+ faces seen of \d+, .* 640 of 100"):
        load_students(load_study(NAME, Study))


def test_its_section_shows_every_set(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(read_report(NAME), study="exfacegan")  # a study of the same parameters
    other.write()
    monkeypatch.setattr("sys.argv", ["study_page"])
    study_page.main()
    page = study_page.PAGE.read_text()
    assert 'href="#exfacegan"' in page
    for text in (
        *SETS,
        "by a margin alone, no teacher",
        "What a change brought",
        "Not measured",
        "100 faces",
        "2 seeds each",
    ):
        assert text in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_one_seed_has_no_interval_and_still_a_place() -> None:
    values = read_yaml(ROOT / layout.study_params(NAME))
    assert len(values["sets"]) > 1
    study = replace(_study(), seeds=(1,))
    own = benchmark_report(verified()["orl"], study)
    assert own["sets"]["drawn"]["accuracy"]["ci95_seeds"] is None
    assert own["less_first"]["drawn"]["value"] == pytest.approx(-0.1)


def _study() -> Study:
    with chdir(ROOT):
        own = load_study(NAME, Study)
    sets = {name: TrainingSet(tuple(each["rounds"]), each.get("before")) for name, each in SETS.items()}  # fmt: skip  # noqa: E501
    return replace(own, sets=sets, seeds=(1, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sets": {"one": TrainingSet(("pool",))}}, "sets: 1; name at least two"),
        ({"sets": {"a": TrainingSet(("probe",)), "b": TrainingSet(("pool",))}}, "sets: a: rounds"),
        (
            {"sets": {"a": TrainingSet(("more",), "c"), "b": TrainingSet(("pool",))}},
            "set before a .* 'c'; valid names: b",
        ),
        ({"sets": {"a/b": TrainingSet(("more",)), "b": TrainingSet(("pool",))}}, "'a/b': a set"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"faces": 100, "identities": 30}, "100 faces of 30 identities.* say 90 faces"),
        ({"faces": 10}, "10 faces, 32000 of them seen: both must fill a batch of 64"),
    ],
)
def test_what_no_training_can_have_is_refused(change: dict[str, Any], message: str) -> None:
    study = _study()
    check_study(study)
    assert asdict(study)["faces"] >= study.recipe.batch
    with pytest.raises(InputError, match=message):
        check_study(replace(study, **change))
