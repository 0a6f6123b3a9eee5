"""A stranger's network whose rows are not those of their pictures alone is refused, whatever it
is to be used for; and what a network takes and gives is as true as its numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from eval.annotators import load_annotator
from eval.photos.models import load_model
from manifests.core.errors import InputError
from pipeline.embed import fingerprint
from pipeline.foreign.onnx import MAX_BATCH, open_network
from pipeline.foreign.promises import check_pictures, check_rows
from pipeline.teachers import load_teacher
from tests.networks import DECLARED, SIZE, WIDTH, network, write_network

CLASSES = {"classes": ",".join("abcdefgh"), "activation": "softmax"}
WEIGHTS = Path("weights")


def ending(*kinds: str, **attributes: Any) -> onnx.ModelProto:
    """The network, and behind it nodes of these kinds, the first of which has the attributes."""
    model = network(declared=DECLARED | CLASSES)
    at = "embeddings"
    for kind in kinds:
        inputs = [at, "embeddings"] if kind in ("Add", "Sub", "Div") else [at, *EXTRA.get(kind, ())]
        model.graph.node.append(helper.make_node(kind, inputs, [kind], **attributes))
        at, attributes = kind, {}
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    for name, own in (("ones", ones), ("zeros", zeros), ("half", np.float32(0.5))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(own), name))
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(True), "true"))
    model.graph.output[0].name = at
    return model


EXTRA = {
    "BatchNormalization": ("ones", "zeros", "zeros", "ones"),
    "Dropout": ("half", "true"),
}
DRAWN = {
    "noise": lambda: ending("RandomNormalLike", "Add"),
    "dropout": lambda: ending("Dropout"),
}
BOTH = {"normalised as in training": lambda: training(ending("BatchNormalization"))}
MIXED = {
    "softmax over the batch": lambda: ending("Softmax", axis=0),
    "centred by the batch": lambda: ending("ReduceMean", "Sub", axes=[0]),
    "scaled by the largest": lambda: ending("ReduceMax", "Div", axes=[0]),
}


def training(model: onnx.ModelProto) -> onnx.ModelProto:
    node = model.graph.node[-1]
    node.attribute.append(helper.make_attribute("training_mode", 1))
    node.output.extend(["running_mean", "running_var"])
    return model


def written(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


OPENERS: dict[str, Callable[[Path], Any]] = {
    "teacher": lambda path: load_teacher(f"onnx:{path}", WEIGHTS),
    "model": lambda path: load_model(f"onnx:{path}", WEIGHTS),
    "annotator": lambda path: load_annotator(f"onnx:{path}"),
}


@pytest.mark.parametrize("opened", OPENERS)
@pytest.mark.parametrize("kind", [*DRAWN, *MIXED, *BOTH])
def test_rows_that_are_not_their_pictures_own_are_refused(
    tmp_path: Path, opened: str, kind: str
) -> None:
    path = written((DRAWN | MIXED | BOTH)[kind](), tmp_path / "toy.onnx")
    said = "(other rows the second time)" if kind in DRAWN else "(depend on the others of their)"
    said = ".*" if kind in BOTH else said
    with pytest.raises(InputError, match=rf"toy\.onnx: pictures of noise give .*{said}"):
        OPENERS[opened](path)


@pytest.mark.parametrize("opened", OPENERS)
def test_one_that_keeps_the_promise_is_taken(tmp_path: Path, opened: str) -> None:
    OPENERS[opened](written(ending("BatchNormalization"), tmp_path / "toy.onnx"))


def halved(model: onnx.ModelProto, kind: int = TensorProto.FLOAT16) -> onnx.ModelProto:
    """The same network between a cast from that type and a cast to it."""
    graph = model.graph
    graph.node[0].input[0], graph.node[-1].output[0] = "in32", "out32"
    graph.node.insert(0, helper.make_node("Cast", ["pictures"], ["in32"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Cast", ["out32"], ["embeddings"], to=kind))
    for end in (*graph.input, *graph.output):
        end.type.tensor_type.elem_type = kind
    return model


def some(count: int) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(1).integers(0, 256, (count, 3, SIZE, SIZE)).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("kind", "eps"), [(TensorProto.FLOAT16, 2.0**-10), (TensorProto.DOUBLE, 2.0**-23)]
)
def test_numbers_of_other_widths_are_cast(tmp_path: Path, kind: int, eps: float) -> None:
    found = open_network(written(halved(network(), kind), tmp_path / "half.onnx"))(some(5))
    wanted = open_network(write_network(tmp_path / "whole.onnx"))(some(5))
    assert found.dtype == torch.float32
    # Rounded on the way in and out: pixels and sums of 16 mean activations.
    assert float((found - wanted).norm() / wanted.norm()) < 4 * eps
    assert not torch.equal(found, wanted) or kind == TensorProto.DOUBLE


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = network()
    change(model)
    return model


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: setattr(model, "ir_version", 99), "Unsupported model IR version: 99, max"),
        (
            lambda model: setattr(model.opset_import[0], "version", 99),
            r"Current official support for domain ai\.onnx is till opset \d+",
        ),
        (
            lambda model: setattr(model.graph.node[0], "op_type", "Frobnicate"),
            "No Op registered for Frobnicate with domain_version of 17",
        ),
        (lambda model: halved(model, TensorProto.BFLOAT16), r"takes tensor\(bfloat16\), expected"),
        (lambda model: halved(model, TensorProto.INT32), r"takes tensor\(int32\), expected one of"),
    ],
    ids=["IR", "opset", "operator", "bfloat16", "int32"],
)
def test_the_true_reason_is_said_however_long_the_path(
    tmp_path: Path, change: Callable[[onnx.ModelProto], object], reason: str
) -> None:
    folder = tmp_path / ("a folder " * 20) / ("and one in it " * 14)
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=reason):
        open_network(written(changed(change), folder / "toy.onnx"))


@pytest.mark.parametrize("batch", [0, MAX_BATCH + 1])
def test_a_batch_that_no_call_can_have_is_refused(tmp_path: Path, batch: int) -> None:
    path = written(network(batch=batch), tmp_path / "toy.onnx")
    with pytest.raises(InputError, match=rf"takes a batch of {batch}, expected 1 to {MAX_BATCH}"):
        open_network(path)


def test_the_runtime_is_named_with_what_a_store_depends_on(tmp_path: Path) -> None:
    teacher = load_teacher(f"onnx:{write_network(tmp_path / 'toy.onnx')}", WEIGHTS)
    assert fingerprint(teacher, "cpu").numerics["onnxruntime"] == onnxruntime.__version__


def test_eight_bits_scaled_by_the_batch_run_one_by_one(tmp_path: Path) -> None:
    """What our own export makes with --int8 dynamic."""
    whole, path = write_network(tmp_path / "whole.onnx"), tmp_path / "toy.onnx"
    quantization.quantize_dynamic(whole, path, weight_type=quantization.QuantType.QUInt8)
    opened = open_network(path)
    x = some(6)
    assert opened.batch == 1
    assert torch.equal(opened(x)[2:4], opened(x[2:4].flip(0)).flip(0))
    wanted = open_network(whole)(x)
    assert float((opened(x) - wanted).norm() / wanted.norm()) < 0.05  # eight bits


def test_a_teacher_in_training_mode_is_refused() -> None:
    """As one of another package may come, which is tried when it is loaded."""
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1)
    network = torch.nn.Sequential(*layers, torch.nn.Flatten())
    with pytest.raises(InputError, match=r"teacher x: pictures of noise .* others of their batch"):
        check_pictures(network.train(), 16, "teacher x")
    check_pictures(network.eval(), 16, "teacher x")
    dropping = torch.nn.Sequential(network, torch.nn.Dropout())
    with pytest.raises(InputError, match="other rows the second time"):
        check_pictures(dropping.train(), 16, "teacher x")
    with pytest.raises(InputError, match="no finite numbers"):
        check_pictures(lambda x: network(x) / 0, 16, "teacher x")


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_half_of_the_digits_must_agree(share: float) -> None:
    """A network that adds that share of what is allowed, by the mean of its batch's."""
    eps = 2.0**-20
    rows, company = torch.ones(4, 2), (torch.zeros(4, 2), torch.full((4, 2), 2.0))

    def mixing(x: torch.Tensor) -> torch.Tensor:
        return x + share * eps**0.5 * x.mean()  # the means of the two batches are 0.5 and 1.5

    if share < 1:
        check_rows(mixing, rows, company, "rows", eps)
    else:
        with pytest.raises(InputError, match="depend on the others"):
            check_rows(mixing, rows, company, "rows", eps)
