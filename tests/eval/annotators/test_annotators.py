"""Every annotator keeps the contract; what is measured is what it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax

from eval.annotators import load_annotator
from eval.annotators.base import AlignedFaces, Annotator
from eval.annotators.measured import (
    ATTRIBUTES,
    SIZE,
    Measured,
    patch_pixels,
    sharpness,
    skin_colour,
)
from eval.annotators.onnx import OnnxAnnotator
from eval.attributes.colour import lab
from manifests.core.errors import InputError
from pipeline.arrays.frames import DLIB112
from pipeline.arrays.landmarks import ARCFACE5, DLIB5, SCHEMES, Scheme
from tests import references
from tests.contracts import AnnotatorContract, FileContract
from tests.networks import DECLARED, by_hand, network, write_network

LABELS = "none, reading glasses, sunglasses, monocle, pince-nez, goggles, visor, mask"
CLASSIFIER = {
    name: value for name, value in DECLARED.items() if name not in ("metric", "views")
} | {"classes": LABELS, "activation": "softmax", "attribute": "eyewear"}
NAMES = [own.name for own in ATTRIBUTES]
FRAME = DLIB112.at(SIZE)
HERE = ARCFACE5.inside(FRAME)
UNKNOWN = np.full((1, 5, 2), np.nan)
BOTH = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))


def measure(
    image: np.ndarray, landmarks: np.ndarray, source: np.ndarray, scheme: Scheme = ARCFACE5
) -> dict[str, float]:
    """{attribute: value} of one face."""
    values = Measured().annotate(AlignedFaces(image[None], landmarks, source, scheme))[0]
    return dict(zip(NAMES, values.tolist(), strict=True))


def plain(*colour: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), colour, np.uint8)


class TestMeasured(AnnotatorContract, FileContract):
    @pytest.fixture
    def annotator(self) -> Annotator:
        return load_annotator("measured")

    @pytest.fixture
    def backend(self, annotator: Annotator) -> Annotator:
        return annotator


class TestOnnx(AnnotatorContract):
    @pytest.fixture
    def annotator(self, tmp_path: Path) -> Annotator:
        return load_annotator(f"onnx:{write_network(tmp_path / 'a.onnx', declared=CLASSIFIER)}")

    def test_probabilities_of_the_classes_sum_to_one(self, values: np.ndarray) -> None:
        np.testing.assert_allclose(values.sum(axis=1), 1.0, atol=1e-6)


def test_a_plain_picture_has_no_sharpness_and_no_contrast() -> None:
    found = measure(plain(200, 150, 120), HERE[None], HERE[None])
    assert found["sharpness"] == found["contrast"] == 0.0
    assert found["brightness"] == pytest.approx(references.lab(200, 150, 120)[0], abs=1e-3)
    lightness, _, blue = references.lab(200, 150, 120)
    assert found["skin angle"] == pytest.approx(np.degrees(np.arctan((lightness - 50) / blue)))


def test_a_grey_picture_has_no_skin_angle() -> None:
    assert np.isnan(measure(plain(120, 120, 120), HERE[None], UNKNOWN)["skin angle"])


def test_half_black_half_white_by_hand() -> None:
    image = plain(0, 0, 0)
    image[:, SIZE // 2 :] = 255
    found = measure(image, HERE[None], HERE[None])
    assert found["brightness"] == pytest.approx(50.0)
    assert found["contrast"] == pytest.approx(50.0)
    # beside the edge the Laplacian is 255 and -255, elsewhere 0
    assert found["sharpness"] == pytest.approx(2 * 255**2 / (SIZE - 2), rel=1e-5)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    expected = [references.sharpness(image) for image in images]
    np.testing.assert_allclose(sharpness(images), expected, rtol=1e-5)


def test_what_alignment_took_away_is_undefined() -> None:
    found = measure(plain(9, 9, 9), HERE[None], UNKNOWN)
    assert np.isnan([found["roll"], found["eye distance"]]).all()
    assert found["yaw"] == pytest.approx(0.0, abs=0.5)
    nothing = measure(plain(9, 9, 9), UNKNOWN, UNKNOWN)
    assert np.isnan([nothing["yaw"], nothing["pitch"]]).all()


@BOTH
def test_tilt_and_size_are_of_the_source_picture(scheme: Scheme) -> None:
    here = scheme.inside(FRAME)
    angle = np.radians(20)
    turn = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = here @ turn.T
    found = measure(plain(9, 9, 9), here[None], source[None], scheme)
    assert found["roll"] == pytest.approx(20.0, abs=0.5)
    apart = float(scheme.eye_distance(here[None])[0])
    assert found["eye distance"] == pytest.approx(3 * apart, rel=1e-5)
    assert found["yaw"] == pytest.approx(0.0, abs=0.5)


def skin(image: np.ndarray, landmarks: np.ndarray, scheme: Scheme) -> np.ndarray:
    return skin_colour(AlignedFaces(image[None], landmarks[None], UNKNOWN, scheme))[0]


@BOTH
def test_skin_is_taken_from_forehead_and_cheeks(scheme: Scheme) -> None:
    colour, rest = (190, 140, 110), (20, 200, 30)
    image, here = plain(*rest), scheme.inside(FRAME)
    places = patch_pixels(here[None], SIZE, scheme)[0]
    image[places[..., 1], places[..., 0]] = colour
    np.testing.assert_allclose(skin(image, here, scheme), lab(np.array([colour], np.uint8))[0])
    # where the frame has them
    np.testing.assert_allclose(
        skin(image, UNKNOWN[0], scheme), lab(np.array([colour], np.uint8))[0]
    )
    eyes = scheme.eye_centres(here[None])[0, :, 1].mean()
    rows = places[..., 1]
    assert rows[0].max() < eyes - 5 and rows[1].min() > eyes + 5 and rows[2].min() > eyes + 5


def test_skin_is_taken_from_one_place_whoever_found_the_face() -> None:
    """Of an aligned face: to a pixel and a half."""
    ours, theirs = (
        patch_pixels(scheme.inside(FRAME)[None], SIZE, scheme)[0].mean(axis=1)
        for scheme in (ARCFACE5, DLIB5)
    )
    np.testing.assert_allclose(ours, theirs, atol=1.5)


@BOTH
def test_a_fringe_does_not_decide_the_skin(scheme: Scheme) -> None:
    image, here = plain(190, 140, 110), scheme.inside(FRAME)
    image[: int(scheme.eye_centres(here[None])[0, :, 1].mean())] = (30, 20, 15)
    np.testing.assert_allclose(
        skin(image, here, scheme), lab(np.array([(190, 140, 110)], np.uint8))[0]
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_classifier_gives_the_probabilities_of_its_outputs(
    tmp_path: Path, activation: str
) -> None:
    declared = CLASSIFIER | {"activation": activation}
    annotator = load_annotator(f"onnx:{write_network(tmp_path / 'b.onnx', declared=declared)}")
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    unknown = np.full((5, 5, 2), np.nan)
    fed = (images.transpose(0, 3, 1, 2).astype(np.float64) - 127.5) / 128
    outputs = by_hand(fed, network(declared=declared))
    expected = softmax(outputs, axis=1) if activation == "softmax" else expit(outputs)
    found = annotator.annotate(AlignedFaces(images, unknown, unknown, ARCFACE5))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert annotator.attributes[1].name == "eyewear: reading glasses"
    assert annotator.name == "onnx-b"


def test_labels_stand_alone_where_no_attribute_is_named(tmp_path: Path) -> None:
    declared = {name: value for name, value in CLASSIFIER.items() if name != "attribute"}
    annotator = load_annotator(f"onnx:{write_network(tmp_path / 'c.onnx', declared=declared)}")
    assert [own.name for own in annotator.attributes][:2] == ["none", "reading glasses"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "one, two"}, "names 2 classes .* the network has 8 outputs"),
        ({"classes": "a, a, b, c, d, e, f, g"}, r"\(7 of them different\)"),
        ({"classes": "../a, b, c, d, e, f, g, h"}, "a name has letters"),
        ({"activation": "relu"}, "valid names: none, sigmoid, softmax"),
        ({"name": "../x"}, "facestill.name '../x'"),
    ],
)
def test_a_classifier_that_is_declared_badly_is_refused(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    declared = CLASSIFIER | {"attribute": "", **changes} if "classes" in changes else CLASSIFIER
    file = write_network(tmp_path / "d.onnx", declared={**declared, **changes})
    with pytest.raises(InputError, match=message):
        load_annotator(f"onnx:{file}")


@pytest.mark.parametrize("missing", ["classes", "activation", "frame"])
def test_what_a_classifier_must_say_is_asked_for(tmp_path: Path, missing: str) -> None:
    declared = {name: value for name, value in CLASSIFIER.items() if name != missing}
    file = write_network(tmp_path / "e.onnx", declared=declared)
    with pytest.raises(InputError, match=f"does not declare facestill.{missing}"):
        load_annotator(f"onnx:{file}")


def test_outputs_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    declared = CLASSIFIER | {"activation": "none"}
    annotator = load_annotator(f"onnx:{write_network(tmp_path / 'f.onnx', declared=declared)}")
    assert isinstance(annotator, OnnxAnnotator)
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"for a probability; facestill\.activation is none"):
        annotator.annotate(AlignedFaces(image, UNKNOWN, UNKNOWN, ARCFACE5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guessed", "unknown annotator 'guessed'; valid names: heads, measured, onnx"),
        ("onnx", "needs a file: onnx:PATH"),
        ("onnx:none.onnx", "none.onnx: no such file"),
        ("measured:twice", "takes no argument"),
    ],
)
def test_an_unknown_annotator_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_annotator(text)
