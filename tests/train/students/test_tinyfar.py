from __future__ import annotations

import pytest
import torch

from pipeline.arrays.numerics import count_macs
from tests.students import StudentContract, build, count, pictures
from train.students.tinyfar import SqueezeExcite


class TestTinyFarC(StudentContract):
    name = "tinyfar-c"


class TestTinyFarA(StudentContract):
    name = "tinyfar-a"
    width = 0.5


@pytest.mark.parametrize(
    ("name", "params", "published"),
    [
        ("tinyfar-a", 5_562_844, 5.563),
        ("tinyfar-b", 3_105_434, 3.105),
        ("tinyfar-c", 1_832_106, 1.832),
    ],
)
def test_they_have_the_published_numbers_of_parameters(
    name: str, params: int, published: float
) -> None:
    assert count(name) == params
    assert round(params / 1e6, 3) == published


@pytest.mark.parametrize(("variant", "published"), [("a", 6.19), ("b", 3.73), ("c", 2.46)])
def test_with_a_thousand_classes_they_are_the_published_tinynets(
    variant: str, published: float
) -> None:
    """Han et al. 2020, Table 5, in millions."""
    assert round(count(f"tinyfar-{variant}", outputs=1000) / 1e6, 2) == published


@pytest.mark.parametrize(("variant", "macs"), [("a", 126.8), ("b", 75.5), ("c", 38.2)])
def test_multiplications(variant: str, macs: float) -> None:
    found = count_macs(build(f"tinyfar-{variant}", 112, outputs=512), 112)
    assert found is not None
    assert round(found / 1e6, 1) == macs


@pytest.mark.parametrize(("size", "side"), [(64, 2), (80, 3), (96, 3), (112, 4)])
def test_the_map_before_the_mean(size: int, side: int) -> None:
    with torch.device("meta"):
        network = build("tinyfar-b", size)
        assert network[:-3](torch.zeros(2, 3, size, size)).shape == (2, 1280, side, side)


def test_squeeze_and_excitation_by_hand() -> None:
    """Means 1 and 3 are squeezed to 2·1 + 1·3 = 5; gates are the sigmoids of silu(5) and 0."""
    layer = SqueezeExcite(2, 1)
    with torch.no_grad():
        layer.reduce.weight.copy_(torch.tensor([2.0, 1.0]).view(1, 2, 1, 1))
        layer.expand.weight.copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
        layer.reduce.bias.zero_()
        layer.expand.bias.zero_()
    x = torch.tensor([[[[0.0, 2.0]], [[3.0, 3.0]]]])
    squeezed = torch.tensor(5.0) * torch.tensor(5.0).sigmoid()
    gates = torch.stack([squeezed.sigmoid(), torch.tensor(0.5)]).view(1, 2, 1, 1)
    torch.testing.assert_close(layer(x), x * gates)


def test_activations_neither_vanish_nor_explode_at_the_start() -> None:
    with torch.no_grad():
        found = build("tinyfar-c")[:-3].train()(pictures(8)).std()
    assert 0.1 < found < 10
