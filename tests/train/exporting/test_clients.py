"""Files for clients: the student's own embeddings, as those clients feed their files. OpenCV is
here to be asked itself; tests/clients has those that have to be installed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from eval.photos.models import load_model
from manifests.core import layout
from manifests.core.digests import folder_hashes, sha256_file
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.records.clients import README, RECORD, ClientRecord
from manifests.records.exports import FLOAT, INT8, LATENCY, Export
from pipeline.arrays.frames import ARCFACE112
from pipeline.arrays.landmarks import ARCFACE5
from tests.clients import picture, rows_of_the_student
from tests.conftest import ROOT
from tests.exports import RUN
from tests.train.exporting.toys import FILES, OUT, command
from train.checkpoint import load_student
from train.export import check_output
from train.exporting.client_files import as_bytes, client_of, cosines, readme
from train.exporting.clients import web
from train.exporting.clients.base import Fed, Feed, resampling
from train.exporting.running import some_pictures

ONNX = ("insightface", "opencv", "web")
SCALED = Feed(127.5, 127.5, open_batch=True)


@pytest.fixture(scope="module")
def exported(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export that has files for clients, too."""
    folder = tmp_path_factory.mktemp("clients") / "copy"
    shutil.copytree(made, folder)
    with chdir(folder):
        command(RUN.as_posix(), *(word for name in ONNX for word in ("--for", name)))
    return folder


@pytest.fixture
def inside(exported: Path) -> Iterator[Path]:
    with chdir(exported):
        yield exported


@pytest.fixture
def spoilt(exported: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy that a test may spoil, as the current folder."""
    shutil.copytree(exported, tmp_path / "copy")
    with chdir(tmp_path / "copy"):
        yield tmp_path / "copy"


def test_the_export_is_what_it_is_without_clients(made: Path, exported: Path) -> None:
    changing = [LATENCY, "MODEL_CARD.md", "model_card.json"]
    own = {
        path: digest for path, digest in folder_hashes(exported / OUT).items() if "/" not in path
    }
    plain = folder_hashes(made / OUT)
    assert set(own) == FILES == set(plain)
    assert all(own[name] == plain[name] for name in FILES - set(changing))


@pytest.mark.parametrize("name", ONNX)
def test_a_file_is_the_student_to_whatever_feeds_it_as_the_client_does(
    inside: Path, name: str
) -> None:
    """By onnx:PATH, which takes the frame, normalisation and views from the file."""
    model = load_model(f"onnx:{OUT / name / FLOAT}", layout.WEIGHTS)
    assert (model.frame, model.metric, model.mirrored) == (ARCFACE112, "cosine", False)
    crops = as_bytes(some_pictures(3, 112))
    found = model.embed(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    assert cosines(found, rows_of_the_student(RUN, crops)).min() > 0.9999


@pytest.mark.parametrize("name", ONNX)
def test_the_record_says_what_is_there(inside: Path, name: str) -> None:
    record, student = ClientRecord.read(OUT / name), load_student(RUN)
    page = {"index.html"} if name == "web" else set()
    assert {path.name for path in (OUT / name).iterdir()} == {FLOAT, INT8, RECORD, README} | page
    assert (record.student_sha256, record.client, record.views) == (
        student.sha256, name, "plain+flip",
    )  # fmt: skip
    assert record.files[FLOAT].agreement.cosine_least > 0.9999
    assert record.files[INT8].agreement.cosine_mean > 0.995
    said = (OUT / name / README).read_text()
    assert student.sha256 in said and client_of(name).snippet in said
    assert record.files[FLOAT].agreement.measured_by in said


def test_opencv_embeds_as_the_student(inside: Path) -> None:
    crop = picture(112)
    wanted = rows_of_the_student(RUN, crop[None])
    bgr = np.ascontiguousarray(crop[..., ::-1])
    for file, least in ((FLOAT, 0.9999), (INT8, 0.995)):
        path = str(OUT / "opencv" / file)
        by_face = cv2.FaceRecognizerSF.create(path, "").feature(bgr)
        assert cosines(by_face, wanted) > least
        network = cv2.dnn.readNetFromONNX(path)
        network.setInput(cv2.dnn.blobFromImage(bgr, 1, (112, 112), (0, 0, 0), swapRB=True))
        assert cosines(network.forward(), wanted) > least


def test_opencv_aligns_to_the_students_frame(inside: Path) -> None:
    """Its points of a face that is aligned already move nothing."""
    recognizer = cv2.FaceRecognizerSF.create(str(OUT / "opencv" / FLOAT), "")
    template = Export.read(OUT).template
    assert template is not None
    points = [value - 0.5 for point in template.five for value in (point.x, point.y)]
    face = np.array([[0, 0, 112, 112, *points, 1]], np.float32)
    crop = picture(112)
    aligned = recognizer.alignCrop(crop, face)
    assert np.abs(aligned.astype(float) - crop)[8:-8, 8:-8].max() <= 2


def test_insightface_takes_a_file_for_one_that_it_has_to_normalise(inside: Path) -> None:
    """Its router's rule and that of its ArcFaceONNX, as of insightface 2.1."""
    for file in (FLOAT, INT8):
        graph = onnx.load(OUT / "insightface" / file).graph
        (given,), (_,) = graph.input, graph.output
        lengths = [own.dim_value for own in given.type.tensor_type.shape.dim]
        assert lengths == [0, 3, 112, 112]
        first = [node.name for node in graph.node[:8]]
        assert not any(name.startswith(("Sub", "_minus", "Mul", "_mul")) for name in first)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 160), st.integers(0, 2**32 - 1))
def test_resampling_by_products_is_that_of_the_graph(size: int, seed: int) -> None:
    pictures = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(seed)) * 255
    taken = resampling(112, size)
    wanted = functional.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
    torch.testing.assert_close(taken @ pictures @ taken.T, wanted, rtol=0, atol=1e-3)


def test_a_student_of_plain_views_is_shown_no_mirrored_ones(inside: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
    card = replace(load_student(RUN).card, input_size=8, embedding_width=4)
    pictures = some_pictures(2, 112)
    for views in ("plain", "plain+flip"):
        seen = functional.interpolate(pictures, (8, 8), mode="bilinear", antialias=True)
        wanted = network(seen) + (network(seen.flip(3)) if views == "plain+flip" else 0)
        for feed in (Feed(), Feed(127.5, 127.5), Feed(layout="nhwc")):
            fed = Fed(network, replace(card, views=views), replace(feed, open_batch=True))
            (numbers,) = fed.feed.of(as_bytes(pictures))
            found = fed(torch.from_numpy(numbers))
            torch.testing.assert_close(found, wanted, rtol=0.02, atol=2)  # whole pixels


@pytest.mark.parametrize("changes", [{"frame": "dlib112"}, {"metric": "euclidean"}])
def test_a_student_that_clients_would_use_wrongly_is_refused(
    inside: Path, changes: dict[str, str]
) -> None:
    student = load_student(RUN)
    with pytest.raises(InputError, match=f"{next(iter(changes.values()))}.*; clients cut"):
        Fed(student.network, replace(student.card, **changes), Feed())


def test_bad_usage_says_what_to_do(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder_hashes(OUT)
    with pytest.raises(InputError, match=r"client 'tensorrt'.*insightface, mobile, opencv, web"):
        command(RUN.as_posix(), "--for", "tensorrt")
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(InputError, match=r"litert-torch; pip install -e '\.\[mobile\]'"):
        command(RUN.as_posix(), "--for", "mobile")
    assert folder_hashes(OUT) == before


def test_a_client_that_sees_another_network_gets_no_files(
    spoilt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(layout.WORK)
    before = folder_hashes(OUT)
    of = Feed.of  # as one that normalises what is normalised in the graph
    monkeypatch.setattr(Feed, "of", lambda _, crops: np.split(of(SCALED, crops)[0], len(crops)))
    with pytest.raises(InputError, match=r"its embeddings are not the student's .*nothing was"):
        command(RUN.as_posix(), "--int8", "none", "--for", "web", "--force")
    assert folder_hashes(OUT) == before


def test_what_was_made_for_clients_stays_and_is_mended(spoilt: Path) -> None:
    def files() -> dict[str, str]:
        found = folder_hashes(OUT).items()
        return {path: digest for path, digest in found if "/" in path}

    before = files()
    command(RUN.as_posix())  # without --for
    assert files() == before
    (made,) = layout.WORK.glob("export-start/*")
    (made / "opencv" / FLOAT).unlink()
    (made / "opencv" / FLOAT).write_bytes(b"damaged")
    command(RUN.as_posix(), "--for", "opencv")
    assert files() == before


def test_folders_of_clients_may_be_all_that_is_left(spoilt: Path) -> None:
    """DVC removes an export's own files before it is made again."""
    for path in OUT.iterdir():
        if path.is_file():
            path.unlink()
    check_output(OUT)
    (OUT / "letters").mkdir()
    with pytest.raises(InputError, match="holds other files, and no export"):
        check_output(OUT)


@pytest.mark.parametrize("spoil", ["changed", "lost", "elsewhere", "later"])
def test_a_record_that_is_not_of_its_files_is_refused(spoilt: Path, spoil: str) -> None:
    folder, record = OUT / "web", read_json(OUT / "web" / RECORD)
    (folder / FLOAT).unlink()
    if spoil == "changed":
        (folder / FLOAT).write_bytes(b"")
    elif spoil == "elsewhere":
        record["files"]["../student.onnx"] = record["files"].pop(FLOAT)
        record["files"]["../student.onnx"]["sha256"] = sha256_file(OUT / FLOAT)
    elif spoil == "later":
        record["files"] = {}
        record["schema_version"] = 2
    write_json(folder / RECORD, record)
    with pytest.raises(InputError, match="export the run again"):
        ClientRecord.read(folder)


def test_the_page_runs_no_script_but_its_own() -> None:
    """Its policy names the script and the style by their digests."""
    assert web.CLIENT.page is not None
    page = web.CLIENT.page.read_text()
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="(.*?)"', page)
    for tag in ("script", "style"):
        (inside,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; connect-src 'self' https://cdn.jsdelivr.net;")


def test_the_page_lays_eyes_where_the_student_has_them() -> None:
    assert web.CLIENT.page is not None
    (eyes,) = re.findall(r"EYES = (\[.*?\]\]);", web.CLIENT.page.read_text())
    wanted = ARCFACE5.inside(ARCFACE112)[:2]
    np.testing.assert_allclose(json.loads(eyes), wanted, atol=1e-3)


def test_the_page_asks_for_the_runtime_that_it_is_tried_with() -> None:
    assert web.CLIENT.page is not None
    (version,) = re.findall("npm/(onnxruntime-web@[0-9.]+)/dist", web.CLIENT.page.read_text())
    assert version in (ROOT / "Makefile").read_text()


def test_a_readme_repeats_what_strangers_state_as_text() -> None:
    record = ClientRecord(
        "web", "mined-2", "ab" * 32, "arcface112", 112, "rgb", "nchw", "in-graph", "1", 512,
        "cosine", "plain", "<script>x</script>\n# Free", "![](https://a.example/x.png)", {}, {},
    )  # fmt: skip
    text = readme(record, client_of("web"))
    assert "&lt;script&gt;" in text and "<script>" not in text and "\n# Free" not in text
    assert "![](" not in text
