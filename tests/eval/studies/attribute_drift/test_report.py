"""The study attribute-drift from stores, photographs and labels to its section of the page."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from eval import study_page
from eval.annotators import annotate, load_annotator
from eval.attributes import coverage
from eval.attributes.maad_face import NAMES
from eval.studies.attribute_drift import findings, joint, matrix
from eval.studies.attribute_drift import report as attribute_drift
from eval.studies.attribute_drift import tables as drift_tables
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.study import StudyReport, read_report
from manifests.stores.latents import LatentManifest
from manifests.stores.passport import Fingerprint
from pipeline.teachers import load_teacher
from tests.conftest import lay_out
from tests.toys import PASSPORT, make_round, toy_teacher

ROUNDS = {"pool": 300, "identities": 90}
PARAMS = layout.study_params("attribute-drift")
NUM_PEOPLE = 12
TWICE = {
    "a": {"kind": "synthetic", "faces": ["data/attributes/measured/pool.parquet"]},
    "b": {"kind": "synthetic", "faces": ["pool"]},
}


def embed(name: str, count: int) -> np.ndarray:
    """Random embeddings of the real teacher's shape and name; the first coordinate tells the
    label."""
    faces, _ = make_round(name, count, seed=count)
    manifest = LatentManifest.read(layout.manifest(name))
    teacher = load_teacher("dlib-resnet", layout.WEIGHTS)
    rows = np.random.default_rng(count).normal(0, 0.1, (count, 2, 128)).astype(np.float32)
    rows[~faces.ok()] = np.nan
    card = replace(
        PASSPORT, round=name, manifest_digest=manifest.digest,
        fingerprint=Fingerprint(teacher.identity(), {"batch": 64}),
    )  # fmt: skip
    path = layout.teacher(name, "dlib-resnet")
    toy_teacher(path, rows, faces_root=faces.root, passport=card)
    return rows[:, 0, 0]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """Two rounds that were annotated and embedded, a folder of photographs, and labels."""
    root = lay_out(tmp_path_factory.mktemp("built") / "flow", weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, count in ROUNDS.items():
            first = embed(name, count)
            table = annotate(name, load_annotator("measured"))
            table.write(layout.attributes(name, "measured"))
            if name == "pool":
                ids = LatentManifest.read(layout.manifest(name)).face_id.tolist()
                rows = [f"{i},{1 if own > 0 else -1}" for i, own in zip(ids, first, strict=True)]
                Path("labels.csv").write_text("\n".join(["face_id,Smiling", *rows]))
        for person in range(1, NUM_PEOPLE + 1):
            Path(f"album/s{person}").mkdir(parents=True)
            for shot in (1, 2, 3):
                shutil.copy(f"data/weights/orl/s{person}/{shot}.pgm", f"album/s{person}")
        change(rounds=list(ROUNDS), real=["folder:album"])
    return root


@pytest.fixture
def flow(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to run in, with few draws."""
    shutil.copytree(built, tmp_path / "flow", symlinks=True)
    monkeypatch.chdir(tmp_path / "flow")
    monkeypatch.setattr(findings, "MARGINAL_DRAWS", 40)
    for module in (findings, joint, matrix):
        monkeypatch.setattr(module, "NUM_DRAWS", 40)
    monkeypatch.setattr(coverage, "NUM_DRAWS", 40)
    return tmp_path / "flow"


def change(**values: Any) -> None:
    PARAMS.write_text(yaml.safe_dump(yaml.safe_load(PARAMS.read_text()) | values))


def run(monkeypatch: pytest.MonkeyPatch) -> StudyReport:
    """Both stages and the page."""
    for module in (drift_tables, attribute_drift, study_page):
        monkeypatch.setattr("sys.argv", [module.__name__])
        module.main()
    return read_report("attribute-drift")


def test_photographs_are_refused_before_tables_go(
    flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = drift_tables.FOLDER / "kept"
    kept.parent.mkdir(parents=True)
    kept.touch()
    Path("album/s1/1.pgm").write_bytes(b"P5 40 40 255\n")
    monkeypatch.setattr("sys.argv", ["attribute-drift-tables"])
    with pytest.raises(InputError, match=r"s1/1\.pgm: not a readable image"):
        drift_tables.main()
    assert kept.exists()


def test_without_labels_the_measured_attributes_are_compared_and_the_heads_stay_empty(
    flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(monkeypatch)
    (measured,) = report.found["annotators"]
    finding = measured["sets"]["album"]
    assert set(finding["attributes"]) == {"sharpness", "brightness", "contrast"}
    assert "defined on no face of synthetic" in finding["not_compared"]["yaw"]  # toys: no landmarks
    assert finding["explanation"]["num_faces"] == 3 * NUM_PEOPLE
    assert finding["attributes"]["brightness"]["real"]["people"] == NUM_PEOPLE
    assert set(finding["attributes"]["brightness"]["kl_real_synthetic_by_source"]) == set(ROUNDS)
    assert measured["checks"]["of"] == "pool"
    assert report.found["heads"] is None
    assert "no table of labelled faces" in report.not_measured["the 47 attributes of MAAD-Face"]
    assert set(report.made_from) == {
        "data/pool/faces.zarr", "data/identities/faces.zarr", "photographs album",
    }  # fmt: skip

    every = measured["matrix"]
    kinds = {own["name"]: (own["kind"], own["faces"]) for own in every["sets"]}
    assert kinds["album"] == ("real", 3 * NUM_PEOPLE) and len(kinds) == 3
    assert {kind for kind, _ in kinds.values()} == {"real", "synthetic"}
    assert every["blocks"]["real || real"] is None  # of one real set there is no base line
    explained = finding["explanation"]["all"], every["blocks"]["difference"]
    assert all(own["verdict"] in ("real explains synthetic", "not shown") for own in explained)

    page = (flow / "reports/studies/index.html").read_text()
    assert "Every set beside every other" in page and "name a second one" in page
    assert "Beside album: 36 photographs of 12 people" in page
    assert all(name.replace("'", "&#39;") in page for name in NAMES)
    assert "<details><summary>The 47 attributes" in page
    assert 'alt="Photographs of album: ' in page  # the user's own folder
    assert not re.search(r'(src|href)="(?!data:image/|#)', page)
    assert len(re.findall("<img ", page)) == len(re.findall(' alt="[^"]{10,}"', page))


def test_four_named_sets_are_a_matrix_with_a_base_line(
    flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate("orl", load_annotator("measured")).write(Path("elsewhere.parquet"))
    sets = {
        "album": {"kind": "real", "faces": ["folder:album"]},
        "dreamt": {"kind": "synthetic", "faces": ["pool"]},
        "grey": {"kind": "real", "faces": ["elsewhere.parquet"]},
        "people": {"kind": "synthetic", "faces": ["identities"]},
    }
    change(sets=sets)
    report = run(monkeypatch)
    every = report.found["annotators"][0]["matrix"]
    assert [own["name"] for own in every["sets"]] == list(sets)
    assert every["num_faces"] == 3 * NUM_PEOPLE and every["left_out"] == []
    base = [every["all"][row][column]["value"] for row, column in ((0, 2), (2, 0))]
    blocks = every["blocks"]
    assert blocks["real || real"]["value"] == pytest.approx(np.mean(base))
    assert blocks["real || synthetic"]["above_real"] is not None
    assert "faces of elsewhere.parquet" in report.made_from
    page = study_page.PAGE.read_text()
    heads = re.findall(r"row ‖ column, nats \(95 %\)</th>(.*?)</tr>", page)[0]
    assert re.findall(r">(\w+)</th>", heads) == ["album", "grey", "dreamt", "people"]
    assert "the base line" in page and "above two real sets" in page


def test_the_same_stores_give_the_same_report(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(monkeypatch)
    page = study_page.PAGE.read_bytes()
    assert run(monkeypatch) == first
    assert study_page.PAGE.read_bytes() == page


def test_labels_give_heads_and_heads_attributes_of_both_sides(
    flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = yaml.safe_load(PARAMS.read_text())["heads"] | {
        "architecture": "linear", "learning_rate": 0.05, "batch": 32, "floor": 0.7,
    }  # fmt: skip
    change(labels={"table": "labels.csv", "faces": "pool", "attributes": []}, heads=quick)
    report = run(monkeypatch)
    heads = report.found["heads"]
    assert heads["used"] == ["Smiling"] and heads["held_out"]["Smiling"]["why_not"] is None
    assert report.made_from["labels.csv"] == heads["labels"]["sha256"]
    by_name = {own["name"]: own for own in report.found["annotators"]}
    smiles = by_name["heads-labelled"]["sets"]["album"]["attributes"]["Smiling"]
    assert sum(smiles["real"]["counts"]) == 3 * NUM_PEOPLE - smiles["real"]["undefined"]
    assert sum(smiles["synthetic"]["counts"]) > 250
    assert not [name for name in report.not_measured if "MAAD" in name]
    page = study_page.PAGE.read_text()
    assert "Annotator heads-labelled" in page and "Share,<br>real" in page
    assert "1 reached a balanced accuracy of" in re.sub(r"\s+", " ", page)

    change(heads=quick | {"floor": 1.0})
    without = run(monkeypatch)
    assert [own["name"] for own in without.found["annotators"]] == ["measured"]
    assert "no head reached the floor" in without.not_measured["labelled attributes"]


def test_orls_faces_are_never_shown(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"name": "measured", "sets": {"orl": {"lacking": [], "lacking_together": []}}}
    gap = {"synthetic_examples": [], "real_examples": ["s1/1.pgm"]}
    found["sets"]["orl"]["lacking"] = [gap]  # type: ignore[index]
    change(real=["orl"])
    study = attribute_drift.load_study("attribute-drift", attribute_drift.Study)
    assert attribute_drift.example_strips(study, [found], {}) == {}
    missing = attribute_drift.not_measured(replace(study), [])
    assert "ORL's never are" in missing["real example faces"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": ["hue"]}, "unknown attribute 'hue'; there are yaw, pitch"),
        ({"attributes": ["skin angle"]}, "attribute skin angle: defined on no face of album"),
        ({"real": ["pool"]}, "real: 'pool' is not orl, pairs:DIR or folder:DIR"),
        ({"rounds": ["orl"]}, "rounds: 'orl' names photographs, expected a round"),
        ({"real": []}, "name at least one of each, and none twice"),
        ({"real": ["folder:album", "folder:./album"]}, "none twice"),
        ({"real": ["folder:nowhere"]}, "nowhere: no such folder"),
        ({"real": ["folder:few"]}, r"few: \d+ faces with attributes, 30 are needed"),
        ({"rounds": ["mined-1"]}, "mined-1"),
        ({"annotators": []}, "annotators: none, and no labels to train heads on"),
        ({"annotators": ["guess"]}, "unknown annotator 'guess'; valid names: heads, measured"),
        (
            {"labels": {"table": "labels.csv", "faces": "identities", "attributes": []}},
            "labels.csv: face '.*' is not in store data/identities/faces.zarr",
        ),
        (
            {"labels": {"table": "labels.csv", "faces": "pool", "attributes": ["Goatee"]}},
            "labels.csv: no attribute 'Goatee'; it has Smiling",
        ),
        ({"words": 3}, "unknown key 'words'; known keys: rounds, real"),
        ({"sets": {"a": {"kind": "real", "faces": ["orl"]}}}, "sets: one; a matrix is of at least"),
        ({"sets": {"a": {"kind": "real", "faces": []}}}, "sets: a: no faces; name rounds"),
        (
            {"sets": {"a": {"kind": "mixed", "faces": []}}},
            "kind: 'mixed', expected one of real",
        ),
        (
            {"sets": {name: {"kind": "synthetic", "faces": ["pool"]} for name in "ab"}},
            "sets: pool is in two of them",
        ),
        ({"sets": TWICE}, "attributes of pool and pool: of the same faces"),
    ],
)
def test_bad_input_is_one_line(
    flow: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    (flow / "few").mkdir()
    for shot in (1, 2):
        shutil.copy(flow / f"album/s1/{shot}.pgm", flow / f"few/{shot}.pgm")
    change(**changes)
    with pytest.raises(InputError) as caught:
        run(monkeypatch)
    assert re.search(message, str(caught.value))
    assert not layout.study_report("attribute-drift").exists()


def test_a_store_that_changed_since_is_refused(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch)
    make_round("pool", ROUNDS["pool"], seed=5)
    monkeypatch.setattr("sys.argv", ["attribute_drift"])
    with pytest.raises(InputError, match=r"pool: measured on face store .* annotate it again"):
        attribute_drift.main()
