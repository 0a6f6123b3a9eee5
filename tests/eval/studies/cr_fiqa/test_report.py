"""The study CR-FIQA's report: traceable figures of every quality, and its section of the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import study_page
from eval.benchmarks.base import Protocol, as_benchmark
from eval.photos.models import Model
from eval.photos.rating import SeenPhotographs
from eval.studies.cr_fiqa import report as cr_fiqa
from eval.studies.cr_fiqa.report import RATED, STUDENTS, report, verify_students
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import write_json
from manifests.photographs.images import ImageList
from manifests.records.qualities import QualityTable, table_of
from manifests.settings.params import load_params
from manifests.settings.study import load_study
from manifests.stores.rounds import open_faces
from manifests.studies.cr_fiqa import Study
from pipeline.arrays.frames import ARCFACE112
from tests.eval.test_face_quality import make_rated
from tests.results import made_result, people_table
from tests.study_students import CARD, lay_out_params, make_student
from tests.toys import make_round
from train.checkpoint import FILE, LOG, load_quality, load_student

PEOPLE, PHOTOS = 25, 4
NAMES = [f"s{person}/{photo}.pgm" for person in range(PEOPLE) for photo in range(PHOTOS)]
LOG_TEXT = {"student": {"num_params": 1000}, "num_faces": 90, "train_seconds": 2.5, "history": []}
STORES = json.dumps({"data/pool/faces.zarr": "ef" * 32})


def train(folder: Path, seed: int) -> None:
    """As it looks afterwards."""
    card = replace(CARD, stores=STORES, training=f"like {seed}")
    make_student(folder, card, seed=seed, num_faces=90, history=[])


def lay_out() -> None:
    lay_out_params()
    train(layout.study_run("cr-fiqa", "backbone"), 1)
    for seed, arm in enumerate(RATED, 2):
        make_rated(layout.study_run("cr-fiqa", arm), seed=seed)
        write_json(layout.study_run("cr-fiqa", arm) / LOG, LOG_TEXT)
    for seed, arm in enumerate(STUDENTS, 20):
        train(layout.study_run("cr-fiqa", arm) / "0", seed)
    for name in ("pool", "identities"):
        make_round(name, 60, seed=len(name))
        manifest, faces = open_faces(name)
        assert manifest is not None
        quality = np.where(faces.ok(), np.linspace(0, 1, 60), np.nan).astype(np.float32)
        table = QualityTable(manifest.face_id, quality, "j", "a", "b", "paper", faces.root)
        table.write(table_of(cr_fiqa.QUALITIES, name))


def seen_by(models: Mapping[str, Model], *, aligned: bool = False) -> SeenPhotographs:
    """Photographs of some people, of which every fourth is hard to recognise; `joint` and
    sharpness know which, the others guess."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.standard_normal((PEOPLE, 6)), PHOTOS, axis=0)
    hard = (np.arange(len(NAMES)) % PHOTOS == 0)[:, None]
    embeddings = centres + np.where(hard, 2.0, 0.3) * rng.standard_normal(centres.shape)
    guesses = {name: rng.random((len(NAMES), 9)) for name in models}
    known = {name: 0.1 * guesses[name] - hard for name in ("joint", "sharpness")}
    seers = {name: embeddings for name in ("teacher", "student")}
    detection = np.full(len(NAMES), np.nan) if aligned else rng.random(len(NAMES))
    return SeenPhotographs(guesses | known | seers, np.isfinite(detection), detection)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The report of photographs and verifications made up."""
    root = tmp_path_factory.mktemp("cr-fiqa")
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        lay_out()
        hashes = {name: "ab" * 32 for name in NAMES}
        rows = [(0, NAMES[0], NAMES[1], True), (1, NAMES[2], NAMES[9], False)]
        rows += [(0, name, NAMES[0], False) for name in NAMES[4:]]
        rows += [(1, NAMES[0], name, True) for name in NAMES[1:4]]
        benchmark = as_benchmark("orl", rows, hashes)
        protocol = Protocol(benchmark, ImageList(Path("x"), {}), "folder")
        models = {
            role: Model(f"{role}s", "cd" * 32, ARCFACE112, "cosine", False, lambda crops: crops)
            for role in ("teacher", "student")
        }
        patch.setattr(cr_fiqa, "open_protocols", lambda params: {"orl": protocol})
        patch.setattr(cr_fiqa, "recognisers", lambda params, study: models)
        patch.setattr(cr_fiqa, "look_at", lambda protocol, models: seen_by(models))
        patch.setattr(cr_fiqa, "verify_students", verified)
        report(replace(load_params(), teacher="toy"), small_study()).write()
        yield root


def small_study() -> Study:
    study = load_study("cr-fiqa", Study)
    curves = replace(study.curves, fmr={"orl": 0.01}, resamples=20, random_seeds=2)
    return replace(study, curves=curves)


def verified(protocols: Any, study: Study) -> Any:
    results: dict[str, list[Any]] = {}
    for at, arm in enumerate(STUDENTS):
        results[arm] = [made_result(arm, people_table(3, people=15, noise=0.4 - 0.05 * at))]
    return {"orl": results}


@pytest.fixture
def found(workspace: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(layout.study_report("cr-fiqa").read_text())
    return written


def test_every_figure_is_traceable_to_a_digest(found: dict[str, Any]) -> None:
    made_from = found["made_from"]
    for arm in RATED:
        folder = layout.study_run("cr-fiqa", arm)
        assert made_from[folder.as_posix()] == load_student(folder).sha256
        assert f"{folder.as_posix()} with its quality head" in made_from
    assert "runs/studies/cr-fiqa/weighted/0" in made_from and made_from["teachers"] == "cd" * 32
    assert "data/studies/cr-fiqa/qualities/pool.parquet" in made_from
    assert made_from["data/pool/faces.zarr"] == "ef" * 32 and "protocol of orl" in made_from
    assert "verify: pairs" in found["not_measured"]["Photograph pairs of your own"]


def test_a_quality_that_knows_beats_those_that_guess(found: dict[str, Any]) -> None:
    own = found["found"]["benchmarks"]["orl"]["by"]["student"]
    assert own["num_genuine"] == PEOPLE * 6 and own["num_impostors"] == 4950 - PEOPLE * 6
    assert set(own["less"]) == {*RATED, "sharpness", "norm", "detector", "random"} - {"joint"}
    for guess in ("random", "detector", "norm", "on-top"):
        assert own["less"][guess]["ci95_identity"][1] < 0, guess
    assert abs(own["less"]["sharpness"]["value"]) < abs(own["less"]["random"]["value"]) / 2


def test_what_is_aligned_already_was_not_detected(workspace: Path) -> None:
    seen = seen_by(dict.fromkeys([*RATED, "backbone", "sharpness"]), aligned=True)
    assert "detector" not in cr_fiqa.qualities_of(seen, small_study())


def test_stored_faces_are_told_by_their_quantiles(found: dict[str, Any]) -> None:
    pool = found["found"]["faces"]["pool"]
    assert pool["quantiles"]["0.05"] < pool["quantiles"]["0.5"] < pool["quantiles"]["0.95"]
    assert pool["num_quarantined"] == int(0.1 * pool["num_faces"])


def test_a_benchmark_without_a_rate_is_refused(workspace: Path) -> None:
    study = small_study()
    with pytest.raises(InputError, match=r"unknown benchmark in curves: fmr 'pairs'; valid .* orl"):
        cr_fiqa.check_fmrs(study, ["orl", "pairs"])


@pytest.mark.parametrize("arm", ["joint", "quarantined/0"])
def test_a_missing_run_is_named(
    arm: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(workspace / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    (layout.study_run("cr-fiqa", arm) / FILE).unlink()
    with pytest.raises(InputError, match=rf"cr-fiqa/{arm}/student\.safetensors: no student here"):
        if arm == "joint":
            cr_fiqa.load_rated()
        else:
            verify_students({}, small_study_of(workspace))


def small_study_of(workspace: Path) -> Study:
    with chdir(workspace):
        return small_study()


def test_its_section_shows_every_quality(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["study_page"])
    study_page.main()
    page = study_page.PAGE.read_text()
    for text in (
        "CR-FIQA less it", "on top of a frozen network", "norm of the embedding", "Not measured",
        "Without as many at random", "recognised by the teacher", "better than",
        "of lowest quality", "4,800 impostor pairs",
    ):  # fmt: skip
        assert text in page, text
    assert "http" not in page.replace("http://www.w3.org", "")
    assert load_quality(layout.study_run("cr-fiqa", "joint")).card.ratio == "paper"
