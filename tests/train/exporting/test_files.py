"""What an exported file computes: the student's embeddings, 8 bits, preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from manifests.core import layout
from manifests.records.exports import FLOAT, INT8, Export
from manifests.stores.reading import FaceStore
from pipeline.arrays.frames import Frame, to_frame
from tests.exports import RUN
from tests.train.exporting.toys import OUT
from train.checkpoint import load_student
from train.exporting.graph import PICTURES, WithPreprocessing, declared, to_onnx
from train.exporting.int8 import PRODUCTS, static_int8
from train.exporting.making import blocks_of, crops, evenly, num_faces
from train.exporting.running import (
    TOLERANCE,
    check_parity,
    cosines,
    runner,
    some_pictures,
    torch_runner,
)
from train.students import build_student, student_names


def settled(name: str, projected: int | None) -> torch.nn.Module:
    """A student of random weights whose normalisation has seen pictures, as after training."""
    torch.manual_seed(0)
    network = build_student(
        name, input_size=64, width=0.25, embedding_width=16, projected_from=projected
    )
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        network.train()(some_pictures(16, 64))
    return network.eval().requires_grad_(False)


def family(name: str) -> str:
    return name.partition("-")[0]


def num_modules(name: str) -> int:
    with torch.device("meta"):
        network = build_student(
            name, input_size=64, width=0.25, embedding_width=16, projected_from=own_width(name)
        )
    return len(list(network.modules()))


def own_width(name: str) -> int | None:
    """PocketNets have embeddings of the width in their names, and a projection after it."""
    return int(name[-3:]) if name.startswith("pocketnet") else None


@pytest.mark.parametrize("family_name", sorted(set(map(family, student_names()))))
def test_every_student_keeps_its_embeddings_in_its_files(family_name: str) -> None:
    """Variants of a family share their code; the smallest one is the quickest to trace."""
    variants = [name for name in student_names() if family(name) == family_name]
    name = min(variants, key=num_modules)
    network = settled(name, own_width(name))
    model = to_onnx(network, 64, "float32")
    data = declared(model, {}, {})
    largest = check_parity(data, network, 64, "float32").largest
    assert len(largest) == 6 and max(largest.values()) < TOLERANCE / 2
    pictures = some_pictures(48, 64)
    int8 = declared(static_int8(model, [pictures[:32].numpy()]), {}, {})
    assert len(int8) < len(data)
    with torch.inference_mode():
        found = cosines(torch_runner(network), runner(int8, "float32"), [pictures])
    assert found.shape == (48, 2) and found.mean() > 0.8  # of random weights


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("size", [(32, 32), (112, 112), (40, 25)])
def test_pictures_of_any_number_and_size_are_taken(
    inside: Path, batch: int, size: tuple[int, int]
) -> None:
    student = load_student(RUN)
    pictures = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    session = onnxruntime.InferenceSession(str(OUT / FLOAT), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {PICTURES: pictures.numpy()})
    resized = torch.nn.functional.interpolate(pictures, (32, 32), mode="bilinear", antialias=True)
    np.testing.assert_allclose(rows, student.network(resized).numpy(), rtol=1e-3, atol=1e-5)


def test_the_cost_of_8_bits_by_hand(inside: Path) -> None:
    """One face at a time, cosines in NumPy."""
    cost = Export.read(OUT).int8
    assert cost is not None and cost.method == "static"
    probe, student = FaceStore.open(layout.faces("probe")), load_student(RUN)
    session = onnxruntime.InferenceSession(str(OUT / INT8), providers=["CPUExecutionProvider"])
    found = []
    for row in map(int, np.flatnonzero(probe.ok())):
        image = torch.from_numpy(probe.images(row, row + 1)).permute(0, 3, 1, 2).float()
        crop = to_frame(image, Frame(**probe.frame), student.card.input_frame)
        for view in (crop, crop.flip(3)):
            a = student.network(view).numpy()[0].astype(float)
            b = session.run(None, {PICTURES: view.numpy()})[0][0].astype(float)
            found.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert cost.num_faces * 2 == len(found)
    assert cost.cosine_mean == pytest.approx(np.mean(found), abs=1e-5)
    assert cost.cosine_least == pytest.approx(min(found), abs=1e-5)
    assert cost.cosine_least <= cost.cosine_p01 <= cost.cosine_mean


def test_weights_have_8_bits_but_at_both_ends(inside: Path) -> None:
    model = onnx.load(OUT / INT8)
    types = {own.name: own.data_type for own in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}

    def bits(node: Any) -> int:
        source = made_by.get(node.input[1])
        name = source.input[0] if source is not None else node.input[1]
        return {onnx.TensorProto.INT8: 8, onnx.TensorProto.FLOAT: 32}[types[name]]

    products = [node for node in model.graph.node if node.op_type in ("Conv", *PRODUCTS)]
    assert [bits(node) for node in products] == [32, *[8] * (len(products) - 2), 32]
    small, large = ((OUT / name).stat().st_size for name in (INT8, FLOAT))
    assert small < 0.5 * large


def test_calibration_takes_usable_training_faces_alone(inside: Path) -> None:
    export = Export.read(OUT)
    pool = FaceStore.open(layout.faces("pool"))
    assert export.int8 is not None
    assert export.int8.calibrated_on == {pool.path.as_posix(): int(pool.ok().sum())}
    frame = load_student(RUN).card.input_frame
    blocks = blocks_of([pool])
    given = torch.cat(list(crops(blocks, frame)))
    images = torch.from_numpy(pool.images(0, 150)[pool.ok()]).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(given, to_frame(images, Frame(**pool.frame), frame))
    assert [num_faces(block) for block in blocks] == [
        int(pool.ok()[at : at + 64].sum()) for at in (0, 64, 128)
    ]


def test_blocks_are_taken_at_even_spacing() -> None:
    assert evenly(range(9), 3) == [0, 4, 8]
    assert evenly(range(3), 4) == [0, 1, 2]
    assert evenly([], 4) == []


def test_preprocessing_leaves_pictures_of_the_students_size_alone() -> None:
    pictures = some_pictures(2, 32)
    module = WithPreprocessing(torch.nn.Flatten(), 32)
    assert torch.equal(module(pictures), pictures.flatten(1))
