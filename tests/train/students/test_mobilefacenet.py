from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.arrays.numerics import count_macs
from tests.students import StudentContract, build, count
from train.students.base import num_params


class TestMobileFaceNet(StudentContract):
    name = "mobilefacenet"
    width = 0.5


def test_it_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = build("mobilefacenet", 112)
    slopes = sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.PReLU))
    assert num_params(network) == 1_003_136
    # Chen et al. 2018, Table 3: 0.99 M at 112x112 with 128 outputs; slopes are not counted there.
    assert (num_params(network) - slopes) / 1e6 == pytest.approx(0.99, abs=0.006)


def test_it_has_the_published_number_of_multiplications() -> None:
    macs = count_macs(build("mobilefacenet", 112), 112)
    assert macs == 220_965_376  # 221 M in the paper


def test_the_map_before_the_head_has_a_sixteenth_of_the_side() -> None:
    network = build("mobilefacenet", 100, width=0.25)
    assert network[:-5](torch.zeros(1, 3, 100, 100)).shape == (1, 128, 7, 7)  # 50, 25, 13, 7


@pytest.mark.parametrize(("width", "params"), [(0.5, 280_256), (1.0, 986_240)])
def test_parameters_at_64_pixels(width: float, params: int) -> None:
    assert count("mobilefacenet", size=64, width=width, outputs=128) == params
