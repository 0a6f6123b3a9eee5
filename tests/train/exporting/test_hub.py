"""An export on somebody's hub: its lines run without Facestill, and torch.hub finds the student."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import sysconfig
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from eval.photos.models import load_model
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.records.exports import FLOAT, Export
from tests.conftest import ROOT
from tests.exports import RUN
from tests.train.exporting.toys import OUT
from train.checkpoint import load_student
from train.exporting.running import some_pictures

NEEDED = ("numpy", "numpy.libs", "PIL", "pillow.libs", "onnxruntime", "flatbuffers", "google")
SIDE = 32
SAYS = """
import json, sys
from PIL import Image
ours = {"manifests", "pipeline", "train", "eval", "facestill", "torch"} & set(sys.modules)
print(json.dumps([sorted(ours), embedding(Image.open(sys.argv[1])).tolist()]))
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with nothing but what the card's lines import."""
    folder = tmp_path_factory.mktemp("empty")
    command = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)]
    subprocess.run(command, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    here = Path(sysconfig.get_path("purelib"))
    for name in NEEDED:
        if (here / name).exists():
            (site / name).symlink_to(here / name)
    return folder / "bin/python"


def first_lines() -> str:
    lines, *_ = re.findall("```python\n(.*?)```", (OUT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    return str(lines)


@pytest.mark.parametrize("side", [SIDE, 112])
def test_ten_lines_give_our_embedding_where_nothing_of_ours_is(
    inside: Path, tmp_path: Path, empty: Path, side: int
) -> None:
    pixels = some_pictures(1, side).round()[0].permute(1, 2, 0).numpy().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    command = [empty, "-I", "-c", first_lines() + SAYS, tmp_path / "face.png"]
    said = subprocess.run(command, cwd=OUT, check=True, capture_output=True, text=True).stdout
    ours, found = json.loads(said)
    assert ours == []
    resized = at_its_own_size(pixels)
    (expected,) = load_model(str(RUN), layout.WEIGHTS).embed(resized)
    cosine = np.array(found) @ (expected / np.linalg.norm(expected))
    assert cosine >= 0.9999


def at_its_own_size(pixels: np.ndarray) -> torch.Tensor:
    picture = torch.from_numpy(pixels).permute(2, 0, 1).float()[None]
    return torch.nn.functional.interpolate(picture, (SIDE, SIDE), mode="bilinear", antialias=True)


def test_the_empty_environment_has_nothing_of_ours(empty: Path) -> None:
    for name in ("manifests", "train", "torch"):
        command = [empty, "-I", "-c", f"import {name}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
        assert "ModuleNotFoundError" in done.stderr


def test_the_config_says_how_the_graph_is_fed(inside: Path) -> None:
    said, session = read_json(OUT / "config.json"), onnxruntime.InferenceSession(OUT / FLOAT)
    (given,), (returned,) = session.get_inputs(), session.get_outputs()
    assert (said["input"]["name"], said["output"]["name"]) == (given.name, returned.name)
    assert given.type == f"tensor({said['input']['dtype'].replace('float32', 'float')})"
    assert returned.shape[1] == said["output"]["width"]
    card = load_student(OUT).card
    assert said["architectures"] == [card.name] and said["input"]["size"] == card.input_size
    assert said["compared_by"] == {"metric": card.metric, "views": card.views}
    template = Export.read(OUT).template
    assert template is not None and said["frame"]["name"] == card.frame
    assert said["frame"]["size"] == template.size
    assert said["frame"]["landmarks"] == [asdict(point) for point in template.five]


@pytest.mark.parametrize("folder", [OUT, RUN])
def test_torch_hub_loads_the_student_of_an_export_or_a_run(inside: Path, folder: Path) -> None:
    network = torch.hub.load(str(ROOT), "student", folder, source="local")
    pictures = some_pictures(3, 50)
    (expected,) = onnxruntime.InferenceSession(OUT / FLOAT).run(
        None, {"pictures": pictures.numpy()}
    )
    with torch.no_grad():
        np.testing.assert_allclose(network(pictures).numpy(), expected, atol=1e-4)
    assert not network.training


def test_the_student_is_the_only_entry() -> None:
    found = runpy.run_path(str(ROOT / "hubconf.py"))
    assert [name for name in found if callable(found[name]) and name[0] != "_"] == ["student"]


def test_torch_hub_says_where_no_student_is(inside: Path) -> None:
    with pytest.raises(InputError, match="no student here"):
        torch.hub.load(str(ROOT), "student", "runs/none", source="local")
