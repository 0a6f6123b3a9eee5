"""The study training-sets' report: equal students only, differences by seed, its section."""

from __future__ import annotations

import json
import pickle
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
from eval.studies.training_sets.report import (
    benchmark_report,
    load_students,
    not_measured,
    open_suite,
    report,
    verify_all,
)
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import write_text
from manifests.settings.params import load_params, read_yaml
from manifests.settings.study import load_study, read_report
from manifests.studies.training_sets import NAME, Study, TrainingSet, check_study, run_of
from pipeline.arrays.frames import ARCFACE112
from tests.conftest import ROOT
from tests.protocols import ACCURACY as KNOWN
from tests.protocols import bin_lists, colours
from tests.study_students import CARD, lay_out_params, make_student
from tests.toys import make_round
from train.checkpoint import StudentCard, load_student

SETS = {
    "drawn": {"rounds": ["pool"]},
    "turned": {"rounds": ["more"], "before": "drawn"},
}
SUITE = "title: T\nbenchmarks: {orl: orl, packed: bin:packed.bin}\n"
ACCURACY = {"drawn": (0.70, 0.74), "turned": (0.80, 0.82)}


def train(name: str, seed: int, card: StudentCard = CARD, num_faces: int = 100) -> None:
    """As it looks afterwards."""
    (round,) = SETS[name]["rounds"]
    stores = json.dumps({layout.faces(round).as_posix(): "ef" * 32})
    drawn = {"rounds": {round: {"faces": num_faces, "identities": 0}}, "rows_sha256": "12" * 32}
    make_student(
        layout.study_run(NAME, run_of(name, seed)), replace(card, stores=stores), seed=seed,
        num_faces=num_faces, params={"chosen": drawn},
    )  # fmt: skip


def lay_out() -> None:
    lay_out_params()
    values = read_yaml(layout.study_params(NAME))
    recipe = {**values["recipe"], "faces_seen": 650, "batch": 64}
    own = {**values, "sets": SETS, "faces": 100, "seeds": [1, 2], "recipe": recipe}
    own |= {"suite": "toy.yaml", "data": "data"}
    write_text(Path("toy.yaml"), SUITE)
    write_text(layout.study_params(NAME), yaml.safe_dump(own))
    for at, name in enumerate(SETS):
        make_round(SETS[name]["rounds"][0], 40, seed=at)
        for seed in (1, 2):
            train(name, seed)


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
    runs["teacher"] = figures(0.9)
    nobody = {
        run: {name: {"value": each["value"] - 0.2} for name, each in all_of.items()}
        for run, all_of in runs.items()
    }
    return {"orl": {**own, "figures": runs}, "packed": {**own, "figures": nobody}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("training-sets")
    teacher = Model("teacher:toy", "cd" * 32, ARCFACE112, "cosine", False, lambda x: x)
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        lay_out()
        patch.setattr(training_sets, "open_suite", lambda *_: ({}, {}))
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
    assert not_measured({}, {"LFW": "nothing lies at lfw"}) == {
        "Benchmark LFW": "nothing lies at lfw"
    }


def test_the_mean_is_of_all_benchmarks_and_has_no_interval_over_people(
    found: dict[str, Any],
) -> None:
    own = found["found"]["benchmarks"]
    assert found["found"]["order"] == ["orl", "packed", "mean"]  # of the suite, and of the page
    mean, alone = own["mean"]["sets"]["turned"]["accuracy"], own["orl"]["sets"]["turned"]
    assert mean["by_seed"] == pytest.approx([0.70, 0.72])
    assert mean["ci95_identity"] is None and alone["accuracy"]["ci95_identity"] is not None
    assert "protocol of mean" not in found["made_from"]


def test_a_suite_says_what_they_are_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out_params()
    monkeypatch.setattr("eval.benchmarks.bin.PUBLIC", {}, raising=False)
    write_text(Path("toy.yaml"), SUITE.replace("orl: orl", "gone: bin:gone.bin"))
    study, params = replace(_study(), suite="toy.yaml", data="data"), load_params()
    with pytest.raises(
        InputError, match=r"nothing of it is here .*data/gone\.bin; nothing lies at"
    ):
        open_suite(study, params)
    Path("data").mkdir()
    Path("data/packed.bin").write_bytes(pickle.dumps(bin_lists()))
    here, absent = open_suite(study, params)
    assert [*here] == ["packed"] and absent == {"gone": "nothing lies at data/gone.bin"}
    figures = verify_all(NAME, {}, colours(), here)["packed"]["figures"]["teacher"]
    assert figures["accuracy"] == {"value": pytest.approx(KNOWN)}  # nobody knows who is who
    Path("data/gone.bin").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"^gone: data/gone\.bin"):
        open_suite(study, params)


@pytest.mark.parametrize(("card", "num_faces"), [(replace(CARD, faces_seen=320), 100), (CARD, 90)])
def test_unlike_students_are_not_compared(
    card: StudentCard, num_faces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out()
    train("turned", 2, card, num_faces)
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
        ({"suite": "one"}, "unknown suite 'one'; valid names: frcsyn"),
        ({"faces": 10}, "10 faces, 32000 of them seen: both must fill a batch of 64"),
    ],
)
def test_what_no_training_can_have_is_refused(change: dict[str, Any], message: str) -> None:
    study = _study()
    check_study(study)
    assert asdict(study)["faces"] >= study.recipe.batch
    with pytest.raises(InputError, match=message):
        check_study(replace(study, **change))
