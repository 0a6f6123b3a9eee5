"""Models to measure: a student is the same as a run directory and as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eval.photos.models import load_model
from eval.scoring.similarity import similarity
from manifests.core.errors import InputError
from tests.conftest import ROOT
from tests.networks import DECLARED, write_network
from train.checkpoint import FILE, StudentCard, load_student, save_student
from train.exporting.graph import declaration, declared, to_onnx
from train.students import build_student

SIZE, WIDTH = 32, 16


def pictures(count: int) -> torch.Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 255
    return torch.nn.functional.interpolate(coarse, SIZE)


def make_run(folder: Path, views: str) -> torch.nn.Module:
    """A run directory with a student of random weights; returns its network."""
    torch.manual_seed(0)
    network = build_student("small-resnet", input_size=SIZE, width=0.25, embedding_width=WIDTH)
    with torch.no_grad():
        for _ in range(30):  # normalisation gets to know the pictures, or all outputs are alike
            network.train()(pictures(64))
    network.eval()
    card = StudentCard(
        "small-resnet", SIZE, 0.25, WIDTH, "arcface112", "cosine", views, "{}", "0" * 64, "", 0
    )
    save_student(folder / FILE, network, card)
    return network


def test_an_exported_student_scores_as_its_run_directory(tmp_path: Path, weights: Path) -> None:
    network = make_run(tmp_path / "run", "plain+flip")
    card = load_student(tmp_path / "run").card
    values = declaration(card, name="student", licence="none")
    file = tmp_path / "student.onnx"
    file.write_bytes(declared(to_onnx(network, SIZE, "float32"), values, {}))
    run, exported = load_model(str(tmp_path / "run"), weights), load_model(f"onnx:{file}", weights)
    assert exported.mirrored and exported.frame == run.frame
    crops = pictures(100)
    scores = []
    for model in (run, exported):
        rows = model.embed(crops)
        scores.append(similarity(rows[:-1], rows[1:], model.metric))
    assert np.std(scores[0]) > 0.05  # not all alike, or agreeing would be no wonder
    assert np.abs(scores[0] - scores[1]).max() < 1e-4


@pytest.mark.parametrize("views", ["plain", "plain+flip"])
def test_a_file_is_compared_as_it_declares(tmp_path: Path, weights: Path, views: str) -> None:
    declared = DECLARED | {"metric": "euclidean", "views": views}
    model = load_model(f"onnx:{write_network(tmp_path / 'a.onnx', declared=declared)}", weights)
    crops = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 255
    rows = model.network(crops) + (model.network(crops.flip(3)) if views == "plain+flip" else 0)
    np.testing.assert_allclose(model.embed(crops), rows.numpy(), rtol=1e-5)
    distance = np.sqrt(((model.embed(crops)[0] - model.embed(crops)[1]) ** 2).sum())
    score = similarity(model.embed(crops)[:1], model.embed(crops)[1:2], model.metric)
    assert score == pytest.approx(-distance)


def test_unknown_models_are_answered_with_the_valid_forms(weights: Path) -> None:
    with pytest.raises(InputError, match="valid names: arcface-iresnet, dlib-resnet"):
        load_model("teacher:arcface", weights)
    with pytest.raises(InputError, match="valid: a run, teacher:NAME, or onnx:PATH"):
        load_model("huggingface:me/model", weights)
    with pytest.raises(InputError, match="no such file"):
        load_model("onnx:none.onnx", weights)


def test_a_teacher_may_be_named_as_in_params(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_network(tmp_path / "mine.onnx")
    text = (ROOT / "params.yaml").read_text()
    there = f'teachers: {{mine: "onnx:{file}"}}'
    assert text.count("teachers: {} # those in files") == 1
    text = text.replace("teachers: {} # those in files", f"{there} #")
    (tmp_path / "params.yaml").write_text(text)
    weights = weights.resolve()
    monkeypatch.chdir(tmp_path)
    found, given = (load_model(f"teacher:{own}", weights) for own in ("mine", f"onnx:{file}"))
    assert (found.sha256, found.frame) == (given.sha256, given.frame)


def test_a_file_without_its_kind_is_answered_with_it(weights: Path) -> None:
    with pytest.raises(InputError, match=r"teacher:arcface-iresnet:models/backbone\.pth"):
        load_model("models/backbone.pth", weights)
    with pytest.raises(InputError, match=r"name this file as onnx:exports/student\.onnx"):
        load_model("exports/student.onnx", weights)
