"""Detectors in ONNX files: told apart, decoded to the pixel, and refused where they are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core.errors import InputError
from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner
from pipeline.aligners.onnx import OnnxAligner
from tests.contracts import AlignerContract, apart
from tests.detectors import write_constant, write_yunet
from tests.networks import write_network

SIDE = 96
COUNTS = {stride: (SIDE // stride) ** 2 for stride in (8, 16, 32)}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    return write_yunet(tmp_path_factory.mktemp("zoo") / "yunet-2023mar.onnx", weights)


class TestYunetOfTheZoo(AlignerContract):
    @pytest.fixture
    def aligner(self, zoo: Path, weights: Path) -> Aligner:
        return load_aligner(f"onnx:{zoo}", weights)

    def test_it_finds_what_the_projects_own_finds(
        self, aligner: Aligner, weights: Path, generated: torch.Tensor
    ) -> None:
        own = self.detect(load_aligner("yunet", weights), generated)
        for one, other in zip(self.detect(aligner, generated), own, strict=True):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.05)


def test_a_file_of_one_side_sees_canvases_of_that_side(
    tmp_path: Path, weights: Path, photographs: list[np.ndarray], generated: torch.Tensor
) -> None:
    path = write_yunet(tmp_path / "fixed.onnx", weights, side=160)
    fixed, own = load_aligner(f"onnx:{path}", weights), load_aligner("yunet", weights)
    for one, other in zip(fixed.find(photographs), own.find(photographs), strict=True):
        assert apart(one.landmarks, other.landmarks, own.scheme) < 0.01
    (alone,) = fixed.detect(generated[:1], size=96, threshold=0.5)
    (same,) = own.detect(
        generated[:1], size=96, threshold=0.5
    )  # black beside it changes its edge a little
    assert apart(alone.landmarks[0], same.landmarks[0], own.scheme) < 0.05
    assert "at 160 pixels" in fixed.rule("central") and "retry" not in fixed.rule("central")
    with pytest.raises(InputError, match=r"takes pictures of 160 pixels, smaller than 192; set r"):
        fixed.detect(generated[:1], size=192, threshold=0.5)


def drawn(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    return rng.uniform(0.05, 0.95, (count, width)).astype(np.float32)


def yunet(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Outputs, and by hand what they mean."""
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = {
        f"{name}_{stride}": drawn(rng, count, width)
        for name, width in widths.items()
        for stride, count in COUNTS.items()
    }
    meant = []
    for stride, count in COUNTS.items():
        cls, obj, bbox, kps = (outputs[f"{name}_{stride}"] for name in widths)
        for row in range(count):
            y, x = divmod(row, SIDE // stride)
            cx, cy = (x + bbox[row, 0]) * stride, (y + bbox[row, 1]) * stride
            w, h = np.exp(bbox[row, 2]) * stride, np.exp(bbox[row, 3]) * stride
            points = [((x, y)[i % 2] + kps[row, i]) * stride for i in range(10)]
            score = np.sqrt(cls[row, 0] * obj[row, 0])
            meant.append([score, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, *points])
    return outputs, np.array(meant)


def scrfd(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    by_width = {
        width: [drawn(rng, 2 * count, width) for count in COUNTS.values()] for width in (1, 4, 10)
    }
    every = [own for width in by_width.values() for own in width]
    outputs = {str(448 + 3 * number): own for number, own in enumerate(every)}
    meant = []
    for level, (stride, count) in enumerate(COUNTS.items()):
        for row in range(2 * count):
            y, x = (stride * end for end in divmod(row // 2, SIDE // stride))
            score, box, kps = (by_width[width][level][row] for width in (1, 4, 10))
            left, top, right, bottom = box * stride
            points = [(x, y)[i % 2] + kps[i] * stride for i in range(10)]
            meant.append([score[0], x - left, y - top, x + right, y + bottom, *points])
    return outputs, np.array(meant)


def retinaface(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    count = 2 * sum(COUNTS.values())
    outputs = {f"output{i}": drawn(rng, count, width) for i, width in enumerate((4, 2, 10))}
    loc, conf, landms = outputs.values()
    meant: list[list[float]] = []
    for stride, least in {8: 16, 16: 64, 32: 256}.items():
        for y in range(SIDE // stride):
            for x in range(SIDE // stride):
                for size in (least, 2 * least):
                    row = len(meant)
                    middle = ((x + 0.5) * stride, (y + 0.5) * stride)
                    cx, cy = (middle[i] + loc[row, i] * 0.1 * size for i in range(2))
                    w, h = (size * np.exp(loc[row, i] * 0.2) for i in (2, 3))
                    points = [middle[i % 2] + landms[row, i] * 0.1 * size for i in range(10)]
                    ends = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                    meant.append([conf[row, 1], *ends, *points])
    return outputs, np.array(meant)


Kind = Callable[[np.random.Generator], tuple[dict[str, np.ndarray], np.ndarray]]
KINDS = (yunet, scrfd, retinaface)
FIXED = (1, 3, SIDE, SIDE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turned", [False, True])
def test_outputs_are_decoded_as_by_hand(
    tmp_path: Path, weights: Path, kind: Kind, turned: bool
) -> None:
    outputs, meant = kind(np.random.default_rng(0))
    if turned:
        outputs = dict(reversed(outputs.items()))
    path = write_constant(tmp_path / "a.onnx", outputs, ("batch", 3, SIDE, SIDE))
    aligner = loaded(path)
    (first, second) = aligner.candidates(torch.zeros(2, 3, SIDE, SIDE))
    assert torch.equal(first, second)

    def ordered(rows: np.ndarray) -> np.ndarray:
        return rows[np.lexsort(rows.T[:5])]

    np.testing.assert_allclose(ordered(first.double().numpy()), ordered(meant), atol=1e-3)
    assert aligner.licence == "not stated" and aligner.name == "a"


def test_rows_that_do_not_say_whose_they_are_come_of_one_picture_at_a_time(
    tmp_path: Path, weights: Path
) -> None:
    outputs, meant = scrfd(np.random.default_rng(0))
    shape = (1, 3, "height", "width")
    path = write_constant(tmp_path / "det_10g.onnx", outputs, shape, of_pictures=False)
    aligner = loaded(path)
    found = aligner.candidates(torch.zeros(3, 3, SIDE, SIDE))
    assert found.shape == (3, len(meant), 15)
    with pytest.raises(InputError, match=r"for 64 pixels, SCRFD has"):
        aligner.candidates(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("kind", "fed"),
    [
        (yunet, [30.0, 20.0, 10.0]),
        (scrfd, [(c - 127.5) / 128 for c in (10, 20, 30)]),
        (retinaface, [30 - 104.0, 20 - 117.0, 10 - 123.0]),
    ],
)
def test_pictures_are_fed_as_each_kind_wants_them(
    tmp_path: Path, weights: Path, kind: Kind, fed: list[float]
) -> None:
    path = write_constant(tmp_path / "a.onnx", kind(np.random.default_rng(0))[0], FIXED)
    rgb = torch.tensor([10.0, 20.0, 30.0])[:, None, None].expand(1, 3, 4, 4)
    aligner = loaded(path)
    np.testing.assert_allclose(aligner.pixels(rgb)[0, :, 0, 0], np.array(fed), rtol=1e-6)
    said = {"normalisation": "(x - 1) / 2", "colours": "rgb", "name": "mine", "licence": "MIT"}
    (tmp_path / "a.onnx.json").write_text(json.dumps(said))
    aligner = loaded(tmp_path / ".." / tmp_path.name / "a.onnx")
    np.testing.assert_allclose(aligner.pixels(rgb)[0, :, 0, 0], np.array([4.5, 9.5, 14.5]))
    assert (aligner.name, aligner.licence) == ("mine", "MIT")


def test_rows_that_are_no_boxes_are_passed_over(tmp_path: Path, weights: Path) -> None:
    outputs, _ = yunet(np.random.default_rng(0))
    outputs["bbox_32"][:] = 1e4  # a box without end
    path = write_constant(tmp_path / "a.onnx", outputs, FIXED)
    rows = loaded(path).candidates(torch.zeros(1, 3, SIDE, SIDE))[0]
    assert rows.isfinite().all() and (rows[:, 0] == 0).sum() == COUNTS[32]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 96, 64), r"takes tensor\(float\) \[1, 3, 96, 64\], expected \[batch, 3, side"),
        ((1, 1, 96, 96), "takes .* expected"),
        ((1, 3, 100, 100), "takes .* a multiple of 32 up to 1024"),
        ((1, 3, 96, "width"), "takes .* expected"),
        ((0, 3, 96, 96), "takes a batch of 0"),
    ],
)
def test_pictures_of_other_shapes_are_refused(
    tmp_path: Path, weights: Path, shape: tuple[int | str, ...], message: str
) -> None:
    path = write_constant(tmp_path / "a.onnx", yunet(np.random.default_rng(0))[0], shape)
    refused(f"onnx:{path}", weights, message)


def test_other_outputs_are_refused_with_those_that_are_read(tmp_path: Path, weights: Path) -> None:
    outputs, _ = yunet(np.random.default_rng(0))
    del outputs["kps_8"]
    path = write_constant(tmp_path / "a.onnx", outputs, FIXED)
    refused(f"onnx:{path}", weights, r"gives cls_8 \[.*; expected those of YuNet .*SCRFD.*RetinaFa")
    path = write_network(tmp_path / "b.onnx", size=SIDE)
    refused(f"onnx:{path}", weights, "gives embeddings .* expected those of YuNet")


def test_outputs_of_other_lengths_are_refused(tmp_path: Path, weights: Path) -> None:
    outputs, _ = retinaface(np.random.default_rng(0))
    outputs = {name: rows[:-2] for name, rows in outputs.items()}
    path = write_constant(tmp_path / "a.onnx", outputs, FIXED)
    refused(f"onnx:{path}", weights, "for 96 pixels, RetinaFace has")


def loaded(path: Path) -> OnnxAligner:
    aligner = load_aligner(f"onnx:{path}", path.parent)
    assert isinstance(aligner, OnnxAligner)
    return aligner


def refused(text: str, weights: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_aligner(text, weights)
    assert "\n" not in str(caught.value)
