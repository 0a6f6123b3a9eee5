"""The report of the study fair-distillation: a whole grid, traceable figures, honest blanks.

The folder of real faces is a stand-in: random pictures that are claimed to be people.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from eval import study_page
from eval.alignment import Alignment
from eval.annotators.measured import ATTRIBUTES
from eval.benchmarks import open_benchmark
from eval.photos.photo_sets import open_photographs
from eval.studies.fair_distillation import group_verification
from eval.studies.fair_distillation import report as fair_distillation
from eval.studies.fair_distillation.people_groups import grouped_pairs, photograph_table
from eval.studies.fair_distillation.report import load_students, report
from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import write_json
from manifests.records.attributes import PHOTOGRAPHS, AttributeTable, Source
from manifests.settings.params import Params, load_params
from manifests.settings.real_faces import RealFaces
from manifests.settings.study import load_study
from manifests.studies.fair_distillation import NAME, Block, Cell, Study, expand
from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112
from pipeline.arrays.landmarks import ARCFACE5
from tests.protocols import bin_lists, make_rfw
from tests.study_students import CARD, lay_out_params, make_student
from train.checkpoint import load_student

PEOPLE, EACH, SEEDS = 24, 4, (1, 2)
SETS = ("prior", "identities", "real")
ALLOWED = RealFaces("photographs", True, "volunteers", "own", None)
STORES = json.dumps({"data/pool/faces.zarr": "ef" * 32})


def small(study: Study, **changes: Any) -> Study:
    """Three data sets, one student, one loss."""
    block = Block(SETS, ("small-resnet",), ("elastic",), (False, True))
    recipe = replace(study.recipe, faces_seen=640)
    fairness = replace(study.fairness, impostors=600, resamples=10, fmr={"pairs": 0.05})
    return replace(study, grid=(block,), recipe=recipe, fairness=fairness, seeds=SEEDS, **changes)


def train(cell: Cell, seed: int) -> None:
    """As it looks afterwards."""
    words = "distilled from a teacher"
    if cell.data == "real":
        words += "; trained on real faces: 29 photographs of volunteers"
    chosen = {"rounds": {"pool": {"faces": 29, "identities": 7}}, "rows_sha256": "ab" * 32}
    make_student(
        layout.study_run(NAME, cell.run(seed)), replace(CARD, stores=STORES, training=words),
        seed=seed + len(cell.name), params={"chosen": chosen},
    )  # fmt: skip


def make_photographs(folder: Path) -> None:
    """Pairs of people in pictures of their own colours, and their measured brightness."""
    rng = np.random.default_rng(0)
    names = [f"p{person:02}/{number}.png" for person in range(PEOPLE) for number in range(EACH)]
    for name in names:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
    rows = [
        f"{at // (2 * EACH) % 4},{left},{right},{int(left[:3] == right[:3])}"
        for at, (left, right) in enumerate(
            (names[i], names[(i + step) % len(names)]) for i in range(len(names)) for step in (1, 9)
        )
    ]
    (folder / "pairs.csv").write_text("\n".join(["fold,left,right,same", *rows]))
    measured = [own for own in ATTRIBUTES if own.name in ("skin angle", "brightness")]
    images = tuple(names)
    values = np.stack([np.arange(len(names)) / 2, np.full(len(names), np.nan)], axis=1)
    source = Source(PHOTOGRAPHS, "pairs", open_photographs(f"pairs:{folder}").digest)
    people = tuple(name[:3] for name in names)
    table = AttributeTable(
        {"name": "measured"}, source, tuple(sorted(measured, key=lambda a: a.name)),
        values.astype(np.float32), None, images, people,
    )  # fmt: skip
    table.write(layout.photograph_attributes("pairs", "measured"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every student of the grid, real faces' too, and photographs to measure them on."""
    root = tmp_path_factory.mktemp("fair")
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        lay_out_params()
        make_photographs(Path("photos"))
        params = yaml.safe_load(Path("params.yaml").read_text())
        params["verify"]["pairs"] = "photos"
        Path("params.yaml").write_text(yaml.safe_dump(params))
        for cell in expand(small(load_study(NAME, Study)), real_faces=True):
            for seed in SEEDS if cell.why_not is None else ():
                train(cell, seed)
        without_networks(patch)
        yield root


def without_networks(patch: pytest.MonkeyPatch) -> None:
    """No detector, no ORL, and a student in the teacher's place."""
    face = Face(ARCFACE5.inside(ARCFACE112.at(24)), 1.0)
    found = Alignment("toy", lambda pictures: [face] * len(pictures))
    patch.setattr(group_verification, "alignment_by", lambda name: found)
    load = fair_distillation.load_model
    stand_in = layout.study_run(NAME, "prior/small-resnet.kd-1").as_posix()
    patch.setattr(
        fair_distillation, "load_model",
        lambda text, weights: load(stand_in if text.startswith("teacher") else text, weights),
    )  # fmt: skip
    patch.setattr(
        group_verification,
        "open_protocols",
        lambda params: {"pairs": open_benchmark("pairs:photos", found)},
    )


@pytest.fixture
def params(workspace: Path) -> Params:
    return load_params()


@pytest.fixture
def study(workspace: Path) -> Study:
    return small(load_study(NAME, Study))


@pytest.fixture(scope="module")
def reports(workspace: Path) -> Mapping[str, dict[str, Any]]:
    """Without real faces, and with the stand-in folder."""
    found = {}
    for name, real in (("without", {}), ("with", {"real_faces": ALLOWED})):
        report(replace(load_params(), **real), small(load_study(NAME, Study))).write()
        found[name] = json.loads(layout.study_report(NAME).read_text())
    return found


def test_every_figure_is_traceable_to_a_digest(reports: Mapping[str, Any], study: Study) -> None:
    own = reports["with"]
    for cell in own["found"]["grid"]:
        for student in cell["students"]:
            folder = Path(student["run_dir"])
            digest = load_student(folder).sha256
            assert own["made_from"][student["run_dir"]] == student["sha256"] == digest
    table = layout.photograph_attributes("pairs", "measured")
    assert own["made_from"][table.as_posix()] == sha256_file(table)
    assert {"protocol of pairs", "groups of pairs", "data/pool/faces.zarr"} <= {*own["made_from"]}
    scores = layout.study_results(NAME) / "pairs/prior/small-resnet.kd-1/scores.parquet"
    assert scores.exists()


def test_empty_places_have_no_figures_and_say_why(reports: Mapping[str, Any]) -> None:
    own = reports["without"]["found"]
    pairs = own["benchmarks"]["pairs"]
    assert set(pairs["cells"]) == {
        "prior/small-resnet.kd", "identities/small-resnet.elastic",
        "identities/small-resnet.elastic-kd",
    }  # fmt: skip
    reasons = {cell["name"]: cell["why_not"] for cell in own["grid"]}
    assert "no folder of real faces" in reasons["real/small-resnet.elastic"]
    assert next(iter(reasons)) == "prior/small-resnet.elastic"  # in the order of the grid
    missing = reports["without"]["not_measured"]
    assert set(missing) == {
        "Students trained on real faces, and the gap to them", "prior without a teacher",
        "RFW's four groups",
    }  # fmt: skip
    assert all(gap["below_real"] is None for gap in pairs["gaps"])


def test_the_gap_to_real_faces_is_filled_where_they_are(reports: Mapping[str, Any]) -> None:
    pairs = reports["with"]["found"]["benchmarks"]["pairs"]
    gaps = {(gap["data"], gap["distilled"]): gap for gap in pairs["gaps"]}
    for distilled, lesson in ((False, "elastic"), (True, "elastic-kd")):
        real, own = (
            pairs["cells"][f"{name}/small-resnet.{lesson}"]["mean"]["value"]
            for name in ("real", "identities")
        )
        below = gaps["identities", distilled]["below_real"]
        assert below["value"] == pytest.approx(real - own) and len(below["by_seed"]) == 2
    assert not any("real" in what for what in reports["with"]["not_measured"])


def test_groups_are_of_the_first_attribute_that_is_known(reports: Mapping[str, Any]) -> None:
    pairs = reports["with"]["found"]["benchmarks"]["pairs"]
    assert pairs["basis"] == "brightness"  # the skin angle is defined nowhere
    assert [group["genuine"] for group in pairs["groups"]] == [48, 48, 48]
    assert pairs["fmr"] == 0.05


@pytest.mark.parametrize("name", ["without", "with"])
def test_its_section_shows_the_grid(
    name: str, reports: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(layout.study_report(NAME), reports[name])
    monkeypatch.setattr("sys.argv", ["study_page"])
    study_page.main()
    page = study_page.PAGE.read_text()
    said = {
        "without": ("No student was trained on real faces", "Empty, as no folder of real faces"),
        "with": ("Trained on real faces</b>", "29 photographs of volunteers"),
    }
    for text in (*SETS, "brightness", "elastic + KD", *said[name]):
        assert text in page
    for text in said["with" if name == "without" else "without"]:
        assert text not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_missing_student_is_named(workspace: Path, study: Study) -> None:
    cells = [Cell("prior", "small-resnet", None, True)]
    with pytest.raises(InputError, match=r"prior/small-resnet\.kd-9/.*: no student here"):
        load_students(cells, replace(study, seeds=(9,)))


def test_a_student_of_another_length_is_no_comparison(workspace: Path, study: Study) -> None:
    longer = replace(study, recipe=replace(study.recipe, faces_seen=1280))
    with pytest.raises(InputError, match="640 faces seen, the others 1280; run `make study"):
        load_students(expand(longer, real_faces=False), longer)


def test_rfw_brings_its_own_groups(params: Params, study: Study, tmp_path: Path) -> None:
    folder = make_rfw(tmp_path / "rfw", {"African": (), "Asian": (), "Caucasian": (), "Indian": ()})
    fairness = replace(study.fairness, rfw=str(folder), fmr={"pairs": 0.05, "rfw": 0.2})
    protocol, grouped = group_verification.open_all(params, fairness)["rfw"]
    assert grouped.titles == ("African", "Asian", "Caucasian", "Indian")
    assert grouped.benchmark is protocol.benchmark and grouped.balanced.all()
    run = layout.study_run(NAME, "prior/small-resnet.kd-1").as_posix()
    models = {"own": fair_distillation.load_model(run, layout.WEIGHTS)}
    (figures,) = group_verification.measure(
        "rfw", protocol, grouped, models, fairness, tmp_path / "out"
    ).values()
    groups = [figures[f"accuracy@{title}"] for title in grouped.titles]
    values = [own["value"] for own in groups if own is not None]
    assert figures["mean"] and figures["mean"]["value"] == pytest.approx(np.mean(values))
    assert figures["fnmr@Asian"] is not None and (tmp_path / "out/rfw/own").is_dir()
    (packed := tmp_path / "packed").mkdir()
    for group in grouped.titles:
        (packed / f"{group}_test.bin").write_bytes(pickle.dumps(bin_lists(()), 2))
    again, pairs = group_verification.open_all(params, replace(fairness, rfw=str(packed)))["rfw"]
    assert again.frame == ARCFACE112 and pairs.titles == grouped.titles


def test_a_group_with_too_few_pairs_is_refused(params: Params, study: Study) -> None:
    many = replace(study.fairness, groups=8)
    with pytest.raises(InputError, match=r"group pairs, brightness .*: 18 genuine and \d+ imp"):
        group_verification.open_all(params, many)


def test_a_benchmark_needs_a_stated_rate(params: Params, study: Study) -> None:
    with pytest.raises(InputError, match="fairness: fmr: no rate for pairs; state one"):
        group_verification.open_all(params, replace(study.fairness, fmr={"orl": 0.01}))


def test_attributes_that_nobody_has_make_no_groups(params: Params, study: Study) -> None:
    protocol = group_verification.open_protocols(params)["pairs"]
    blind = replace(study.fairness, attributes=("skin angle",))
    with pytest.raises(InputError, match="attributes: skin angle: measured on few of the people"):
        grouped_pairs(protocol, "pairs:photos", blind)
    with pytest.raises(InputError, match="unknown attribute 'hair'; there are brightness"):
        grouped_pairs(protocol, "pairs:photos", replace(blind, attributes=("hair",)))
    nameless = replace(protocol, subject_rule="image")
    with pytest.raises(InputError, match="its names do not tell whose photographs they are"):
        grouped_pairs(nameless, "pairs:photos", study.fairness)


def test_photographs_may_be_spelled_otherwise_where_they_were_measured(
    workspace: Path, params: Params, study: Study
) -> None:
    protocol = group_verification.open_protocols(params)["pairs"]
    path = layout.photograph_attributes("pairs", "measured")
    before, kept = grouped_pairs(protocol, "pairs:photos", study.fairness), path.read_bytes()
    table = AttributeTable.read(path)
    images = tuple(name.replace("/", "\\") for name in table.image or ())
    replace(table, image=images).write(path)
    try:
        assert grouped_pairs(protocol, "pairs:photos", study.fairness).group == before.group
    finally:
        path.write_bytes(kept)


def test_measurements_of_other_photographs_are_refused(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(workspace / "photos", tmp_path / "photos")
    shutil.copytree(workspace / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert len(photograph_table("pairs:photos")) == PEOPLE * EACH
    shutil.copy("photos/images/p01/0.png", "photos/images/p00/0.png")
    with pytest.raises(InputError, match=r"measured on photographs [0-9a-f]{12}, at hand are"):
        photograph_table("pairs:photos")
    layout.photograph_attributes("pairs", "measured").unlink()
    with pytest.raises(InputError, match=r"no such file; run `facestill annotate --photo"):
        photograph_table("pairs:photos")


def test_the_report_repeats_the_parameters(reports: Mapping[str, Any], study: Study) -> None:
    said = reports["without"]["params"]
    assert said["seeds"] == list(SEEDS) and said["grid"][0]["data"] == list(SETS)
    assert said["real_faces"] == asdict(RealFaces())
    assert reports["with"]["params"]["real_faces"] == asdict(ALLOWED)
