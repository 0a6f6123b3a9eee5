"""What SDFR is handed, held to its devkit's words and to the student that was exported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from eval.photos.models import load_model
from eval.suites.sdfr import TASKS
from eval.suites.sdfr_onnx import (
    BATCH,
    check_submission,
    write_sanitizer_scores,
    write_submission,
)
from manifests.core.errors import InputError
from tests.eval.suites.test_frcsyn import scored
from train.checkpoint import StudentCard
from train.exporting.graph import declaration, declared, to_onnx
from train.students import build_student

SIZE = 32


def student() -> nn.Module:
    torch.manual_seed(0)
    network = build_student("small-resnet", input_size=SIZE, width=0.25, embedding_width=512)
    return network.eval().requires_grad_(False)


def export(path: Path, network: nn.Module) -> Path:
    """As `facestill export` writes it."""
    card = StudentCard(
        "small-resnet", SIZE, 0.25, 512, "arcface112", "cosine", "plain+flip", "{}", "0" * 64,
        "unknown", 1,
    )  # fmt: skip
    values = declaration(card, name="toy", licence="CC0-1.0")
    path.write_bytes(declared(to_onnx(network, SIZE, "float32"), values, {}))
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("export") / "student.onnx", student())


@pytest.fixture(scope="module")
def submitted(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_submission(exported, tmp_path_factory.mktemp("out"), "1")


def test_it_takes_and_gives_what_the_devkit_asks_for(submitted: Path) -> None:
    session = onnxruntime.InferenceSession(submitted)
    (source,), (given,) = session.get_inputs(), session.get_outputs()
    assert (source.shape, source.type) == ([BATCH, 3, 112, 112], "tensor(float)")
    assert (given.shape, given.type) == ([BATCH, 512], "tensor(float)")
    assert submitted.parts[-2:] == ("task1", "student.onnx")


@pytest.mark.parametrize("count", [1, 3])
def test_its_rows_are_the_student_s(submitted: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, 3, 112, 112)).astype(np.float32)
    session = onnxruntime.InferenceSession(submitted)
    (rows,) = session.run(None, {session.get_inputs()[0].name: pictures / 255})
    small = torch.nn.functional.interpolate(
        torch.from_numpy(pictures), (SIZE, SIZE), mode="bilinear", align_corners=False,
        antialias=True,
    )  # fmt: skip
    wanted = student()(small.contiguous(memory_format=torch.channels_last)).numpy()
    assert np.abs(rows - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_it_is_read_as_a_model_like_any_other(submitted: Path, exported: Path) -> None:
    own, before = (load_model(f"onnx:{path}", Path("none")) for path in (submitted, exported))
    assert (own.frame.name, own.frame.size, own.views) == ("arcface112", 112, "plain")
    rows, wanted = (
        model.outputs(torch.full((2, 3, side, side), 100.0), ["plain"])["plain"]
        for model, side in ((own, 112), (before, SIZE))
    )
    assert np.abs(rows - wanted).max() < 1e-4 * np.abs(wanted).max()


STEPS = {"turn": ("Gather", [2, 1, 0], np.int64), "shrink": ("Div", [255], np.float32),
         "shift": ("Add", [1], np.float32), "halve": ("Div", [2], np.float32)}  # fmt: skip


def behind(submitted: Path, path: Path, steps: Sequence[str]) -> Path:
    """The file behind nodes that change its pictures first."""
    model = onnx.load_model(str(submitted))
    names, made = ["images", *steps], []
    for before, (name, (operator, values, kind)) in zip(
        names, [(step, STEPS[step]) for step in steps], strict=False
    ):
        constant = onnx.numpy_helper.from_array(np.array(values, kind), f"of {name}")
        model.graph.initializer.append(constant)
        options = {"axis": 1} if operator == "Gather" else {}
        made.append(onnx.helper.make_node(operator, [before, f"of {name}"], [name], **options))
    model.graph.node[0].input[0] = steps[-1]
    nodes = [*made, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save_model(model, str(path))
    return path


@pytest.mark.parametrize(
    ("nodes", "wants"),
    [
        (["turn"], "BGR in [0, 1]"),
        (["shrink"], "RGB in [0, 255]"),
        (["shift", "halve"], "RGB in [-1, 1]"),
        (["turn", "shrink"], "BGR in [0, 255]"),
        (["turn", "shift", "halve"], "BGR in [-1, 1]"),
    ],
)
def test_a_file_that_wants_other_pixels_is_told_which(
    nodes: list[str], wants: str, submitted: Path, exported: Path, tmp_path: Path
) -> None:
    path = behind(submitted, tmp_path / "other.onnx", nodes)
    with pytest.raises(InputError, match=f"wants {re.escape(wants)}; the rules feed RGB"):
        check_submission(path, "1", exported)


def test_a_file_of_another_student_is_noticed(
    submitted: Path, exported: Path, tmp_path: Path
) -> None:
    model = onnx.load_model(str(submitted))
    last = max(model.graph.initializer, key=lambda own: own.raw_data != b"" and len(own.dims) == 2)
    values = onnx.numpy_helper.to_array(last)
    last.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), last.name))
    onnx.save_model(model, str(tmp_path / "other.onnx"))
    with pytest.raises(InputError, match="of their length from the exported student's"):
        check_submission(tmp_path / "other.onnx", "1", exported)


def test_an_export_as_it_is_has_the_wrong_input(exported: Path) -> None:
    with pytest.raises(InputError, match=r"input tensor\(float\) \['.*, expected one tensor"):
        check_submission(exported, "1", exported)


def changed(exported: Path, path: Path, **declared: str) -> Path:
    """The export with something else declared."""
    model = onnx.load_model(str(exported))
    props = {entry.key: entry.value for entry in model.metadata_props}
    props |= {f"facestill.{name}": value for name, value in declared.items()}
    onnx.helper.set_model_props(model, props)
    onnx.save_model(model, str(path))
    return path


def test_task_one_wants_512_numbers_and_task_two_any(
    submitted: Path, exported: Path, tmp_path: Path
) -> None:
    model = onnx.load_model(str(submitted))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 128
    onnx.save_model(model, str(tmp_path / "narrow.onnx"))
    wanted = r"output tensor\(float\) \['batch_size', 128\]"
    with pytest.raises(InputError, match=wanted):
        check_submission(tmp_path / "narrow.onnx", "1", exported)
    assert write_submission(exported, tmp_path, "2").parts[-2:] == ("task2", "student.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colours": "bgr"}, "pixels bgr nchw float32"),
        ({"frame": "wide"}, "frame wide"),
        ({"normalisation": "(x - 127.5) / 128"}, "normalisation "),
    ],
)
def test_what_is_no_export_in_arcface_s_frame_is_refused(
    changes: dict[str, str], message: str, exported: Path, tmp_path: Path
) -> None:
    other = changed(exported, tmp_path / "other.onnx", **changes)
    with pytest.raises(InputError, match=f"{message}.*, expected .*facestill export"):
        write_submission(other, tmp_path, "1")
    assert not (tmp_path / "task1").exists()


def test_a_submission_of_a_network_that_does_not_fit_is_not_left(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = {"1": replace(TASKS["1"], embedding_width=256)}
    monkeypatch.setattr("eval.suites.sdfr_onnx.TASKS", narrow)
    with pytest.raises(InputError, match="expected one"):
        write_submission(exported, tmp_path, "1")
    assert not (tmp_path / "task1/student.onnx").exists()


def test_a_batch_by_another_name_is_refused(
    submitted: Path, exported: Path, tmp_path: Path
) -> None:
    """The devkit reads the length off that name."""
    model = onnx.load_model(str(submitted))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save_model(model, str(tmp_path / "renamed.onnx"))
    with pytest.raises(InputError, match=r"output tensor\(float\) \['N', 512\]"):
        check_submission(tmp_path / "renamed.onnx", "1", exported)


def test_sanitizer_scores_are_a_cosine_a_line(tmp_path: Path) -> None:
    path = write_sanitizer_scores(tmp_path, "1", scored([0.5, -0.25], [True, False]))
    assert path.name == "task1_sanitizer_scores.txt"
    assert path.read_text() == "0.5\n-0.25\n"
