"""Exports: every student's files give the student's embeddings, and cost what the record says."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from eval.photos.models import load_model
from manifests.core import layout
from manifests.core.digests import folder_hashes, sha256_file
from manifests.core.errors import InputError
from manifests.core.files import put, read_json, write_json
from manifests.model_card import write_card
from manifests.records.exports import FLOAT, INT8, LATENCY, RECORD, WEIGHTS, Export
from pipeline.aligners import load_aligner
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import ARCFACE112, DLIB112
from pipeline.foreign.onnx import open_network
from tests.exports import RUN
from tests.students import rewritten
from tests.train.exporting.toys import FILES, OUT, command
from train.checkpoint import LOG, load_student
from train.export import export_run
from train.exporting.facts import training_facts
from train.exporting.request import Request, open_request
from train.exporting.running import (
    check_parity,
    some_pictures,
)


def test_the_commands_folder_holds_what_it_promises(inside: Path) -> None:
    assert {path.name for path in OUT.iterdir()} == FILES
    export, student = Export.read(OUT), load_student(RUN)
    assert (export.run, export.student.sha256) == ("start", student.sha256)
    assert set(export.files) == {WEIGHTS, FLOAT, INT8}
    assert load_student(OUT).sha256 == student.sha256  # an export is a run directory too
    latency = read_json(OUT / LATENCY)
    assert set(latency["milliseconds"]) == {"torch", FLOAT, INT8}
    assert all(spent > 0 for spent in latency["milliseconds"].values())


def test_the_record_repeats_the_log_and_the_passports(inside: Path) -> None:
    export, log = Export.read(OUT), read_json(RUN / LOG)
    assert export.training.num_faces == log["num_faces"]
    assert export.training.rounds == ("pool",)
    assert export.training.recipe["learning_rate"] == str(log["params"]["learning_rate"])
    assert export.student.num_params == log["student"]["num_params"]
    faces, teacher = export.stores
    stores = json.loads(load_student(RUN).card.stores)
    assert {own.path: own.root for own in export.stores} == stores
    assert (faces.made_by, faces.num_rows, faces.num_imported) == ("toy-generator", 150, 0)
    assert teacher.num_imported is None and teacher.licences == {"toy-generator": "CC0-1.0"}


def test_a_log_may_have_a_header(inside: Path) -> None:
    log = read_json(RUN / LOG)
    version = log.pop("torch", None) or log["header"].pop("torch")
    log["header"] = {**log.get("header", {}), "torch": version}
    assert training_facts(log) == Export.read(OUT).training


def test_a_file_is_the_student_to_everything_that_measures(inside: Path) -> None:
    run, exported = (load_model(name, layout.WEIGHTS) for name in (str(RUN), f"onnx:{OUT / FLOAT}"))
    assert (exported.frame, exported.metric, exported.mirrored) == (run.frame, run.metric, True)
    crops = some_pictures(70, 32)
    np.testing.assert_allclose(exported.embed(crops), run.embed(crops), atol=1e-5)
    declared = open_network(OUT / INT8).declared.values
    assert declared["name"] == f"small-resnet-{run.sha256[:8]}-int8"
    assert declared["licence"] == "made with toy-generator: CC0-1.0"


def test_the_card_s_lines_align_a_photograph_as_verification_does(
    inside: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = re.findall("```python\n(.*?)```", (OUT / "MODEL_CARD.md").read_text(), re.DOTALL)
    snippet = tmp_path / "snippet.py"
    snippet.write_text("\n".join(lines))
    model = load_model(str(RUN), layout.WEIGHTS)
    monkeypatch.chdir(OUT)
    card = runpy.run_path(str(snippet))
    aligner = load_aligner("yunet-onet", weights)
    for name, side in (("s1/1.pgm", 2), ("s7/3.pgm", 5)):  # of less and more pixels than the frame
        picture = Image.open(weights / "orl" / name).convert("RGB").resize((92 * side, 112 * side))
        (face,) = aligner.find([np.array(picture)])
        assert face.detected
        crop = crop_photograph(np.array(picture), face, ARCFACE112)
        found = np.asarray(card["aligned"](picture, face.landmarks, card["FIVE"]), np.float32)
        middle = np.s_[16:-16, 16:-16]  # beyond the photograph its edge is repeated, or black
        assert np.abs(found - crop.permute(1, 2, 0).numpy())[middle].mean() < 1.0
        seen = crop_photograph(np.array(picture), face, model.frame)[None]
        expected = model.embed(seen)[0] / np.linalg.norm(model.embed(seen)[0])
        cut = card["aligned"](picture, face.landmarks, card["FIVE"])
        assert card["embedding"](cut) @ expected > 0.99
        eyes = [face.landmarks[0], face.landmarks[1]]
        turned = card["aligned"](picture.rotate(30, center=(0, 0)), turn(eyes, 30), card["EYES"])
        upright = card["aligned"](picture, eyes, card["EYES"])
        apart = np.asarray(turned, np.float32) - np.asarray(upright, np.float32)
        assert np.abs(apart)[40:72, 40:72].mean() < 3.0


def turn(points: list[np.ndarray], degrees: float) -> list[np.ndarray]:
    """About the corner at (0, 0), anticlockwise on the screen, as PIL does."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [np.array([[cos, sin], [-sin, cos]]) @ point for point in points]


def test_an_export_of_before_says_that_it_has_no_template(here: Path) -> None:
    record = read_json(OUT / RECORD)
    del record["template"]
    write_json(OUT / RECORD, record)
    write_card(OUT)
    assert (
        "does not state its template; export the run again" in (OUT / "MODEL_CARD.md").read_text()
    )


def test_an_export_of_before_is_of_the_crop_that_it_was_trained_on(here: Path) -> None:
    """Its record, its weights and its file all said arcface112, which is another crop now."""
    record = read_json(OUT / RECORD)
    del record["student"]["aligner"]
    rewritten(OUT / WEIGHTS, aligner=None)
    model = onnx.load(OUT / FLOAT)
    kept = [item for item in model.metadata_props if item.key != "facestill.aligner"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, OUT / FLOAT)
    for name in (WEIGHTS, FLOAT):
        record["files"][name]["sha256"] = sha256_file(OUT / name)
    write_json(OUT / RECORD, record)
    said = Export.read(OUT).student
    assert (said.frame, said.aligner) == ("dlib112", "dlib")
    for name in (OUT.as_posix(), f"onnx:{OUT / FLOAT}"):
        assert load_model(name, layout.WEIGHTS).frame == DLIB112.at(32)
    write_card(OUT)
    card = (OUT / "MODEL_CARD.md").read_text()
    assert "| frame | `dlib112`" in card and "trained on were found by `dlib`." in card


def test_the_template_is_the_fields(inside: Path) -> None:
    """InsightFace's, whose places count from the first pixel's centre."""
    template = Export.read(OUT).template
    assert template is not None and template.size == 112
    found = [(point.x - 0.5, point.y - 0.5) for point in template.five]
    expected = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                (70.7299, 92.2041)]  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert [point.name for point in template.eyes] == ["left eye, centre", "right eye, centre"]
    assert template.eyes == template.five[:2]


def test_an_export_is_the_same_bytes_every_time(here: Path) -> None:
    before = folder_hashes(OUT, leave_out=[LATENCY])
    shutil.rmtree(layout.WORK)
    command(RUN.as_posix())
    assert folder_hashes(OUT, leave_out=[LATENCY]) == before


def test_a_file_says_nothing_of_the_machine_that_made_it(inside: Path) -> None:
    for name in (FLOAT, INT8):
        data = (OUT / name).read_bytes()
        assert not any(word in data for word in (b"/site-packages", b"stack_trace", b".py"))
        model = onnx.load(OUT / name)
        facts = {item.key: item.value for item in model.metadata_props}
        assert facts["student_sha256"] == load_student(RUN).sha256
        assert (model.producer_name, model.producer_version) == ("facestill", "")


def test_a_finished_export_is_put_in_place_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder_hashes(OUT)
    monkeypatch.setattr("train.export.make", None)
    shutil.rmtree(OUT)
    command(RUN.as_posix())
    assert folder_hashes(OUT) == before


def test_a_damaged_finished_export_is_made_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = open_request(RUN, "float32", "static")
    sound = {path.name: path.read_bytes() for path in request.work.iterdir()}
    (request.work / FLOAT).unlink()
    (request.work / FLOAT).write_bytes(sound[FLOAT][:-1])

    def make(_: Request, folder: Path) -> None:
        put(folder / FLOAT, sound[FLOAT])

    monkeypatch.setattr("train.export.make", make)
    export_run(request, OUT)
    assert (OUT / FLOAT).read_bytes() == sound[FLOAT]


def test_whole_pixels_may_be_fed_as_bytes(here: Path) -> None:
    command(RUN.as_posix(), "--pixels", "uint8", "--out", "bytes", "--int8", "dynamic")
    pictures = some_pictures(9, 32).round()
    float_file, byte_file = (
        load_model(f"onnx:{folder / FLOAT}", layout.WEIGHTS) for folder in (OUT, Path("bytes"))
    )
    np.testing.assert_allclose(byte_file.embed(pictures), float_file.embed(pictures), atol=1e-6)
    cost = Export.read(Path("bytes")).int8
    assert cost is not None and (cost.method, cost.calibrated_on) == ("dynamic", {})
    assert cost.cosine_mean > 0.99


@pytest.mark.parametrize("file", [FLOAT, INT8])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_an_empty_batch_gives_no_rows_and_others_theirs(
    inside: Path, file: str, batch: int
) -> None:
    session = onnxruntime.InferenceSession(OUT / file)
    pictures = some_pictures(3, 40).numpy()
    (rows,) = session.run(None, {"pictures": pictures[:batch]})
    (wanted,) = session.run(None, {"pictures": pictures})
    assert rows.shape == (batch, load_student(RUN).card.embedding_width)
    np.testing.assert_allclose(rows, wanted[:batch], rtol=1e-4, atol=1e-4)


def test_a_file_of_another_network_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = load_student(RUN)
    data = (OUT / FLOAT).read_bytes()
    with torch.no_grad():
        student.network[-1].weight[0, 0] += 0.1
    with pytest.raises(InputError, match=r"off by .* for pictures .*; nothing was exported"):
        check_parity(data, student.network, 32, "float32")
    wrong = onnx.load(OUT / FLOAT)
    (bias,) = [own for own in wrong.graph.initializer if own.name.endswith("13.bias")]
    bias.raw_data = np.roll(onnx.numpy_helper.to_array(bias), 1).tobytes()
    monkeypatch.setattr("train.exporting.making.to_onnx", lambda *_: wrong)
    with pytest.raises(InputError, match="nothing was exported"):
        command(RUN.as_posix(), "--int8", "none", "--out", "elsewhere")
    assert not Path("elsewhere").exists()
