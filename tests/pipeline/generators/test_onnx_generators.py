"""Generators in ONNX files: drawn as they declare, refused where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from manifests.core.errors import InputError
from pipeline.arrays.frames import ARCFACE112
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.generators.stylegan.alignment import ffhq_frame
from tests.contracts import GeneratorContract

WIDTH, SIDE = 6, 8
DECLARED = {
    "frame": "detect",
    "colours": "rgb",
    "normalisation": "(x - 127.5) / 127.5",
    "licence": "CC0-1.0",
}
MATRIX = np.random.default_rng(0).standard_normal((WIDTH, 3 * SIDE * SIDE)).astype(np.float32)


def write(
    path: Path,
    *,
    declared: Mapping[str, str] = DECLARED,
    shape: tuple[int, ...] = (3, SIDE, SIDE),
    batch: int | str = "batch",
    width: int | str = WIDTH,
    noise: bool = False,
) -> Path:
    """A matrix product and tanh, reshaped to pictures."""
    nodes = [helper.make_node("MatMul", ["latents", "matrix"], ["product"])]
    if noise:
        nodes.append(helper.make_node("RandomNormalLike", ["product"], ["noise"]))
        nodes.append(helper.make_node("Add", ["product", "noise"], ["noisy"]))
    nodes.append(helper.make_node("Tanh", ["noisy" if noise else "product"], ["flat"]))
    nodes.append(helper.make_node("Reshape", ["flat", "shape"], ["pictures"]))
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("latents", TensorProto.FLOAT, [batch, width])],
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [batch, *shape])],
        [
            numpy_helper.from_array(MATRIX, "matrix"),
            numpy_helper.from_array(np.array([-1, *shape]), "shape"),
        ],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    helper.set_model_props(model, {f"facestill.{key}": value for key, value in declared.items()})
    onnx.save_model(model, str(path))
    return path


def load(path: Path) -> Generator:
    return load_generator(f"onnx:{path}", Path("weights"))


def z_of(rows: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((rows, WIDTH), np.float32))


class TestOnnxGenerator(GeneratorContract):
    @pytest.fixture
    def generator(self, tmp_path: Path) -> Generator:
        return load(write(tmp_path / "toy.onnx"))


@pytest.mark.parametrize("batch", ["batch", 1, 7])
@pytest.mark.parametrize(
    ("changes", "shape", "axes"),
    [
        ({}, (3, SIDE, SIDE), (0, 1, 2, 3)),
        ({"layout": "nhwc"}, (SIDE, SIDE, 3), (0, 3, 1, 2)),
        ({"colours": "bgr"}, (3, SIDE, SIDE), (0, 1, 2, 3)),
    ],
)
def test_pictures_are_taken_as_declared(
    tmp_path: Path,
    changes: dict[str, str],
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    batch: int | str,
) -> None:
    path = write(tmp_path / "toy.onnx", declared=DECLARED | changes, shape=shape, batch=batch)
    values = np.tanh(z_of(9).numpy() @ MATRIX).reshape(-1, *shape).transpose(axes)
    wanted = (values[:, ::-1] if "colours" in changes else values) * 127.5 + 127.5
    found = load(path).render(z_of(9)).numpy()
    assert np.abs(found - wanted).max() <= 0.501  # rounded


def test_other_scales_are_brought_to_pixels(tmp_path: Path) -> None:
    declared = DECLARED | {"normalisation": "(x - 100, 110, 120) / 50, 60, 70"}
    values = np.tanh(z_of(3).numpy() @ MATRIX).reshape(-1, 3, SIDE, SIDE)
    scale, mean = (
        np.reshape(own, (1, 3, 1, 1)) for own in ([50.0, 60.0, 70.0], [100.0, 110.0, 120.0])
    )
    found = load(write(tmp_path / "toy.onnx", declared=declared)).render(z_of(3)).numpy()
    assert np.abs(found - (values * scale + mean)).max() <= 0.501


def test_frames_are_declared(tmp_path: Path) -> None:
    frames = {"detect": None, "ffhq": ffhq_frame(SIDE), "arcface112": ARCFACE112.at(SIDE)}
    for name, frame in frames.items():
        path = write(tmp_path / "toy.onnx", declared=DECLARED | {"frame": name, "name": name})
        generator = load(path)
        assert generator.frame == frame and generator.name == name


def test_a_space_without_a_mapping_has_no_prior(tmp_path: Path) -> None:
    generator = load(write(tmp_path / "toy.onnx", declared=DECLARED | {"latent_space": "w"}))
    assert generator.latent_space == "w"
    with pytest.raises(InputError, match="toy takes latents of w and has no mapping from z"):
        generator.map(z_of(2))


@pytest.mark.parametrize("key", sorted(DECLARED))
def test_what_is_not_declared_is_asked_for(tmp_path: Path, key: str) -> None:
    declared = {name: value for name, value in DECLARED.items() if name != key}
    with pytest.raises(InputError, match=rf"facestill\.{key}; write .*toy\.onnx\.json, as in "):
        load(write(tmp_path / "toy.onnx", declared=declared))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": True}, "latents give other rows the second time"),
        ({"shape": (3, 4, 16)}, r"output pictures is \[8, 3, 4, 16\] for 8 latents, expected"),
        ({"shape": (1, 8, 24)}, "expected as many square pictures of three channels"),
        ({"width": "width"}, r"takes tensor\(float\) \['batch', 'width'\], expected float"),
        ({"batch": 0}, "takes a batch of 0, expected 1 to 4096"),
        ({"batch": 5000}, "takes a batch of 5000, expected 1 to 4096"),
        (
            {"declared": DECLARED | {"frame": "mtcnn"}},
            "valid names: arcface112, detect, dlib112, dlib150",
        ),
        ({"declared": DECLARED | {"latent_space": "s"}}, "valid names: w, w+, z"),
        ({"declared": DECLARED | {"name": "../x"}}, "a name has letters"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message.replace("w+,", r"w\+,")):
        load(write(tmp_path / "toy.onnx", **changes))


def test_a_file_of_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy.onnx").write_bytes(b"hello" * 9)
    with pytest.raises(InputError, match=r"toy\.onnx: not an ONNX file"):
        load(tmp_path / "toy.onnx")
