"""InsightFace's own package on the file of `--for insightface`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from manifests.records.clients import ClientRecord
from manifests.records.exports import FLOAT, INT8
from pipeline.arrays.frames import ARCFACE112
from pipeline.arrays.landmarks import ARCFACE5
from tests.clients import picture, rows_of_the_student
from tests.detectors import write_constant
from tests.exports import RUN
from tests.train.exporting.toys import OUT
from train.exporting.client_files import cosines

zoo = pytest.importorskip("insightface.model_zoo", reason="make clients brings InsightFace")
ON_CPU = {"providers": ["CPUExecutionProvider"]}
STRIDES, ANCHORS, SIDE = (8, 16, 32), 2, 640


@pytest.mark.parametrize(("file", "least"), [(FLOAT, 0.9999), (INT8, 0.995)])
def test_its_router_takes_the_file_for_arcface_and_embeds_as_the_student(
    inside: Path, file: str, least: float
) -> None:
    model = zoo.get_model(str(OUT / "insightface" / file), **ON_CPU)
    assert type(model).__name__ == "ArcFaceONNX"
    assert (model.input_mean, model.input_std, model.input_size) == (127.5, 127.5, (112, 112))
    crops = np.stack([picture(112), picture(112)[:, ::-1], picture(112)[::-1]])
    wanted = rows_of_the_student(RUN, crops)
    for bgr in ([crop[..., ::-1] for crop in crops], crops[0][..., ::-1]):  # several, or one
        found = model.get_feat(bgr)
        assert cosines(found, wanted[: len(found)]).min() > least


def write_detector(path: Path, points: np.ndarray) -> None:
    """InsightFace's kind of detector, which finds these five points in every picture."""
    outputs = {}
    for what, width in (("score", 1), ("box", 4), ("points", 10)):
        for stride in STRIDES:
            rows = np.zeros((ANCHORS * (SIDE // stride) ** 2, width), np.float32)
            outputs[f"{what}_{stride}"] = rows
    outputs["score_8"][0] = 0.99  # of the place at the upper left, as all offsets are from there
    outputs["box_8"][0] = [0, 0, *(points.max(0) / 8)]
    outputs["points_8"][0] = points.ravel() / 8
    write_constant(path, outputs, (1, 3, SIDE, SIDE), of_pictures=False)


@pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")  # its own, by skimage
def test_face_analysis_gives_faces_the_students_embedding(inside: Path, tmp_path: Path) -> None:
    app = pytest.importorskip("insightface.app")
    align = pytest.importorskip("insightface.utils.face_align")
    scene = np.ascontiguousarray(picture(SIDE)[..., ::-1])
    turn = cv2.getRotationMatrix2D((56, 56), 20, 2.5)  # and larger: as faces lie in photographs
    points = ARCFACE5.inside(ARCFACE112) @ turn[:, :2].T + turn[:, 2] + 250
    write_detector(tmp_path / "det.onnx", points.astype(np.float32))
    analysis = app.FaceAnalysis(str(tmp_path), allowed_modules=["detection"], **ON_CPU)
    analysis.models["recognition"] = zoo.get_model(str(OUT / "insightface" / FLOAT), **ON_CPU)
    analysis.prepare(ctx_id=-1, det_size=(SIDE, SIDE))
    (face,) = analysis.get(scene)
    np.testing.assert_allclose(face.kps, points, atol=0.1)
    crop = align.norm_crop(scene, face.kps)[..., ::-1].copy()
    assert cosines(face.embedding[None], rows_of_the_student(RUN, crop[None])) > 0.9999


def test_the_export_was_compared_by_insightface(inside: Path) -> None:
    record = ClientRecord.read(OUT / "insightface")
    assert record.files[FLOAT].agreement.measured_by.startswith("insightface ")
