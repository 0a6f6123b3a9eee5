"""timm:NAME against a stand-in package: timm itself is an extra that the tests do not need."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from manifests.core.errors import InputError
from tests.students import StudentContract, build, pictures


def plain(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, num_classes),
    )  # fmt: skip


def fixed_size(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, num_classes))


def map_only(num_classes: int) -> nn.Module:
    return nn.Conv2d(3, num_classes, 3)


NETWORKS = {"plain_18": plain, "plain_34": plain, "vit_224": fixed_size, "map_only": map_only}


def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
    assert not pretrained
    return NETWORKS[name](num_classes)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("timm")
    vars(package).update(
        __version__="1.0.0",
        is_model=NETWORKS.__contains__,
        list_models=lambda pattern: fnmatch.filter(NETWORKS, pattern),
        create_model=create_model,
    )
    monkeypatch.setitem(sys.modules, "timm", package)


@pytest.mark.usefixtures("timm")
class TestTimm(StudentContract):
    name = "timm:plain_18"


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:plain_50", r"timm 1.0.0 has no such network; it has plain_18, plain_34"),
        ("timm:hf_hub:someone/network", r"no such network"),
        ("timm:", r"no such network"),
        ("timm:NAME", r"no such network; see timm.list_models"),
        ("timm:vit_224", r"timm:vit_224: takes no pictures of 64 pixels"),
        ("timm:map_only", r"gives \[1, 128, 62, 62\] for one picture"),
    ],
)
def test_what_is_no_student_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name)


@pytest.mark.usefixtures("timm")
def test_a_width_is_refused() -> None:
    with pytest.raises(InputError, match=r"width 0.5, but timm's networks have their own"):
        build("timm:plain_18", width=0.5)


@pytest.mark.usefixtures("timm")
def test_looking_at_it_draws_nothing() -> None:
    """The check of the shape leaves the network as a seed made it, ready to train."""
    torch.manual_seed(0)
    expected = plain(128).state_dict()
    found = build("timm:plain_18")[1].state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_without_timm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        InputError, match=r"timm cannot be imported .*; run pip install -e '\.\[timm"
    ):
        build("timm:resnet18")


def test_a_torchvision_that_does_not_fit_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(InputError, match=r"cannot be imported \(operator nms does not exist\)"):
        build("timm:resnet18")


def test_other_students_do_not_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert build("small-resnet", width=0.25)(pictures(1)).shape == (1, 128)
