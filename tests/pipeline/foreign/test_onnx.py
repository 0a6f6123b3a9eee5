"""ONNX files: fed as they declare, refused with one clear line when they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from manifests.core.errors import InputError
from pipeline.arrays.numerics import BATCH
from pipeline.foreign.onnx import open_network
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher
from tests.contracts import TeacherContract
from tests.networks import DECLARED, SIZE, WIDTH, by_hand, network, write_network

IN_GRAPH = DECLARED | {"normalisation": "in-graph"}


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, SIZE, SIZE)).astype(np.float32))


class TestOnnxTeacher(TeacherContract):
    @pytest.fixture(scope="class")
    @classmethod
    def teacher(cls, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
        path = write_network(tmp_path_factory.mktemp("onnx") / "toy.onnx")
        return load_teacher(f"onnx:{path}", Path("weights"))


@pytest.mark.parametrize("batch", ["batch", 1, 7, BATCH])
@pytest.mark.parametrize("count", [0, 1, 7, BATCH + 1])
def test_rows_are_those_of_the_network_whatever_its_batch(
    tmp_path: Path, batch: int | str, count: int
) -> None:
    opened = open_network(write_network(tmp_path / "toy.onnx", batch=batch))
    x = pictures(count)
    assert opened.batch == (BATCH if batch == "batch" else batch)
    expected = by_hand((x.numpy() - 127.5) / 128, network())
    np.testing.assert_allclose(opened(x).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("declared", "fed"),
    [
        ({"normalisation": "in-graph"}, lambda x: x),
        ({"normalisation": "(x - 127.5) / 127.5"}, lambda x: (x - 127.5) / 127.5),
        ({"colours": "bgr"}, lambda x: (x[:, ::-1] - 127.5) / 128),
        (
            {"normalisation": "(x - 1, 2,3.5) / 4, 5, 6", "colours": "bgr"},
            lambda x: (
                (x[:, ::-1] - np.reshape([1, 2, 3.5], (1, 3, 1, 1)))
                / np.reshape([4, 5, 6], (1, 3, 1, 1))
            ),
        ),
    ],
)
def test_pictures_are_fed_as_declared(tmp_path: Path, declared: dict[str, str], fed: Any) -> None:
    opened = open_network(write_network(tmp_path / "toy.onnx", declared=DECLARED | declared))
    x = pictures(3)
    expected = by_hand(fed(x.numpy()), network())
    np.testing.assert_allclose(opened(x).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_bytes_with_channels_last_are_fed_whole(tmp_path: Path) -> None:
    declared = IN_GRAPH | {"layout": "nhwc"}
    path = write_network(tmp_path / "toy.onnx", nhwc=True, uint8=True, declared=declared)
    x = pictures(3)
    expected = by_hand(x.numpy(), network())
    np.testing.assert_allclose(open_network(path)(x - 0.3).numpy(), expected, rtol=1e-4)


def test_a_declaration_beside_the_file_stands_over_its_own(tmp_path: Path) -> None:
    path = write_network(tmp_path / "toy.onnx")
    alone = open_network(path)
    (tmp_path / "toy.onnx.json").write_text(json.dumps({"colours": "bgr", "licence": "MIT"}))
    teacher = load_teacher(f"onnx:{path}", Path("weights"))
    assert teacher.licence == "MIT" and teacher.name == "toy"
    assert teacher.weights_sha256 != alone.sha256  # other numbers come out
    assert torch.equal(teacher.embed(pictures(2)), alone(pictures(2).flip(1)))


def test_sizes_and_outputs_that_the_graph_leaves_open_are_declared(tmp_path: Path) -> None:
    declared = DECLARED | {"size": str(SIZE), "output": "second"}
    path = write_network(
        tmp_path / "toy.onnx", size="side", outputs=("first", "second"), declared=declared
    )
    opened = open_network(path)
    assert (opened.frame.size, opened.width) == (SIZE, WIDTH)
    expected = by_hand(
        (pictures(2).numpy() - 127.5) / 128, network(outputs=("first", "second")), "second"
    )
    np.testing.assert_allclose(opened(pictures(2)).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", sorted(DECLARED))
def test_what_is_not_declared_is_asked_for(tmp_path: Path, key: str) -> None:
    declared = {name: value for name, value in DECLARED.items() if name != key}
    path = write_network(tmp_path / "toy.onnx", declared=declared)
    with pytest.raises(InputError, match=rf"facestill.{key}; write .*toy.onnx.json, as in "):
        load_teacher(f"onnx:{path}", Path("weights"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 1}, r"takes tensor\(float\) \['batch', 1, 16, 16\], expected"),
        ({"size": "side"}, "facestill.size say what a graph may not"),
        ({"outputs": ("a", "b")}, "does not declare facestill.output"),
        ({"declared": DECLARED | {"output": "c"}}, "unknown facestill.output 'c'; valid names: em"),
        (
            {"declared": DECLARED | {"frame": "ffhq"}},
            "valid names: arcface112, dlib112, dlib150, wide",
        ),
        ({"declared": DECLARED | {"colors": "rgb"}}, "declares facestill.colors, which means noth"),
        ({"declared": DECLARED | {"size": "-1"}}, "expected a whole number"),
        (
            {"declared": DECLARED | {"size": "32"}},
            r"16, 16\], expected \[batch, 3, 32, 32\]",
        ),
        ({"declared": DECLARED | {"embedding_width": "512"}}, r"expected float \[batch, 512\]"),
        ({"declared": DECLARED | {"metric": "manhattan"}}, "valid names: cosine, euclidean"),
        ({"declared": DECLARED | {"normalisation": "x/255"}}, r"expected in-graph or \(x - MEAN"),
        ({"declared": DECLARED | {"normalisation": "(x - 1) / 0"}}, "divides by 0"),
        ({"declared": DECLARED | {"name": "../x"}}, "a name has letters"),
        ({"uint8": True}, "of a uint8 input, expected in-graph$"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_network(tmp_path / "toy.onnx", **changes)
    with pytest.raises(InputError, match=message):
        load_teacher(f"onnx:{path}", Path("weights"))


@pytest.mark.parametrize("content", [b"", b"hello" * 99, b"\xff\xd8\xff\xe0" * 99])
def test_other_files_are_not_taken_for_networks(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an ONNX file"):
        open_network(path)


def test_a_state_dict_is_sent_to_its_kind(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"hello" * 99)
    with pytest.raises(InputError, match=r"not an ONNX file .*arcface-iresnet:.*a\.pth$"):
        open_network(tmp_path / "a.pth")


def test_a_file_cut_short_a_folder_and_none_are_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "toy.onnx")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"toy\.onnx: "):
        open_network(path)
    for other in (tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(InputError, match="no such file"):
            open_network(other)


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "toy.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # takes no room
    with pytest.raises(InputError, match=r"3.2 GB, at most 2.1 GB"):
        open_network(path)


def test_weights_in_other_files_count_and_stay_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "toy.onnx"
    onnx.save_model(
        network(), str(path), save_as_external_data=True, location="toy.data", size_threshold=0
    )
    opened = open_network(path)
    whole = open_network(write_network(tmp_path / "whole.onnx"))
    assert torch.equal(opened(pictures(2)), whole(pictures(2)))
    data = bytearray((tmp_path / "toy.data").read_bytes())
    data[0] ^= 1  # the last bit of a weight
    (tmp_path / "toy.data").write_bytes(data)
    assert open_network(path).sha256 != opened.sha256
    (tmp_path / "toy.data").rename(tmp_path / "away")
    with pytest.raises(InputError, match=r"toy\.data: no such file"):
        open_network(path)


@pytest.mark.parametrize("inner", [False, True])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, inner: bool) -> None:
    (tmp_path / "inside").mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4096))
    model = network()
    tensor = model.graph.initializer[0]
    if inner:  # in a constant of a graph within the graph
        holder = onnx.helper.make_node("If", ["pictures"], ["none"])
        graph = onnx.helper.make_graph([], "inner", [], [], [onnx.TensorProto()])
        holder.attribute.append(onnx.helper.make_attribute("then_branch", graph))
        model.graph.node.append(holder)
        tensor = model.graph.node[-1].attribute[0].g.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    path = tmp_path / "inside/toy.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"'\.\./secret', outside its folder"):
        open_network(path)


@pytest.mark.parametrize("text", ["[]", '{"frame": 1}', "{", '{"a": ' * 99])
def test_a_declaration_beside_the_file_is_read_with_care(tmp_path: Path, text: str) -> None:
    path = write_network(tmp_path / "toy.onnx")
    (tmp_path / "toy.onnx.json").write_text(text)
    with pytest.raises(InputError, match=r"toy.onnx.json: (not JSON|expected one JSON object)"):
        open_network(path)


def test_a_graph_that_gives_fewer_rows_than_pictures_is_refused(tmp_path: Path) -> None:
    model = network()
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["embeddings"], ["mean"], axes=[0]))
    model.graph.output[0].name = "mean"
    path = tmp_path / "toy.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"output mean is \[1, 8\] for 8 pictures"):
        open_network(path)


def test_a_teacher_called_onnx_is_asked_for_its_file() -> None:
    with pytest.raises(InputError, match="needs a file: onnx:PATH"):
        load_teacher("onnx", Path("weights"))


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_network(tmp_path / "toy.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"package onnxruntime; .*\[onnx\]"):
        open_network(path)
