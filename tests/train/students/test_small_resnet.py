from __future__ import annotations

import pytest
import torch

from tests.students import StudentContract, build, count


class TestSmallResnet(StudentContract):
    name = "small-resnet"
    width = 0.5


@pytest.mark.parametrize(
    ("size", "width", "params"), [(64, 0.5, 714_320), (64, 1.0, 2_813_984), (112, 1.0, 2_822_432)]
)
def test_parameters(size: int, width: float, params: int) -> None:
    assert count("small-resnet", size=size, width=width, outputs=128) == params


def test_the_map_before_the_head_has_a_sixteenth_of_the_side() -> None:
    network = build("small-resnet", 100, width=0.25)
    assert network[:-4](torch.zeros(1, 3, 100, 100)).shape == (1, 64, 7, 7)  # 50, 25, 13, 7
