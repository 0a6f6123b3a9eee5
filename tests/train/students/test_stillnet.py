"""StillNet: its sizes, and what it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.students import StudentContract, build, count


class TestStillNetM(StudentContract):
    name = "stillnet-m"
    width = 0.5


class TestStillNetS(StudentContract):
    name = "stillnet-s"
    width = 0.5


@pytest.mark.parametrize(("name", "most"), [("stillnet-m", 1_000_000), ("stillnet-s", 300_000)])
@pytest.mark.parametrize("size", [64, 112])
def test_a_name_keeps_below_its_size_whatever_the_input(name: str, most: int, size: int) -> None:
    assert 0.8 * most < count(name, size=size, width=1.0, outputs=128) < most


@pytest.mark.parametrize("name", ["stillnet-m", "stillnet-s"])
def test_no_convolution_is_depthwise_or_of_odd_widths(name: str) -> None:
    convolutions = [m for m in build(name, width=1.0).modules() if isinstance(m, nn.Conv2d)]
    assert all(each.groups == 1 and each.out_channels % 16 == 0 for each in convolutions)


def test_a_trained_network_takes_pictures_of_other_sizes() -> None:
    network = build("stillnet-s", 64, width=0.5, outputs=16)
    assert network(torch.rand(2, 3, 48, 48)).shape == (2, 16)
