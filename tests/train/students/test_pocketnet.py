from __future__ import annotations

import pytest
import torch
from torch import nn

from manifests.core.errors import InputError
from pipeline.arrays.numerics import count_macs
from tests.students import StudentContract, build, count, pictures
from train.students import build_student
from train.students.base import num_params
from train.students.pocketnet import ChannelScale, FactorisedHalving, PocketNet


class TestPocketNetS128(StudentContract):
    name = "pocketnet-s128"
    width = 0.5
    outputs = 128


class TestPocketNetM256(StudentContract):
    name = "pocketnet-m256"
    width = 0.5
    outputs = 256


@pytest.mark.parametrize(
    ("name", "outputs", "params"),
    [
        ("pocketnet-s128", 128, 925_632),
        ("pocketnet-s256", 256, 991_424),
        ("pocketnet-m128", 128, 1_686_656),
        ("pocketnet-m256", 256, 1_752_448),
    ],
)
def test_they_have_the_published_numbers_of_parameters(
    name: str, outputs: int, params: int
) -> None:
    assert count(name, outputs=outputs) == params


@pytest.mark.parametrize(
    ("name", "outputs", "macs"),
    [("pocketnet-s128", 128, 283.5), ("pocketnet-m256", 256, 538.3)],
)
def test_multiplications(name: str, outputs: int, macs: float) -> None:
    """Factors of channels are depthwise convolutions of one product a pixel, to the paper."""
    products = 0

    def add(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal products
        products += output.numel()

    network = build(name, 112, outputs=outputs)
    found = count_macs(network, 112)
    for module in network.modules():
        if isinstance(module, ChannelScale):
            module.register_forward_hook(add)
    network(pictures(1, 112))
    assert found is not None
    assert round((found + products) / 1e6, 1) == macs


@pytest.mark.parametrize("stride", [1, 2])
def test_factors_of_channels_are_a_depthwise_convolution(stride: int) -> None:
    layer, x = ChannelScale(3, stride), pictures(2, 7)
    expected = nn.functional.conv2d(x, layer.weight, stride=stride, groups=3)
    torch.testing.assert_close(layer(x), expected)


def test_cells_halve_the_map_and_double_the_channels_three_times() -> None:
    body = build("pocketnet-s128", 112)[1]
    assert isinstance(body, PocketNet)
    before = last = body.stem(torch.zeros(1, 3, 112, 112))
    shapes = []
    for cell in body.cells:
        before, last = last, cell(before, last)
        shapes.append((last.shape[1], last.shape[2]))
    assert shapes == [(64, 56)] * 6 + [(128, 28)] * 6 + [(256, 14)] * 5 + [(512, 7)]


@pytest.mark.parametrize(("size", "side"), [(64, 4), (80, 5), (96, 6), (100, 7), (112, 7)])
def test_the_head_sees_the_whole_map(size: int, side: int) -> None:
    kernels = [m.kernel_size for m in build("pocketnet-m128", size)[1].head if hasattr(m, "groups")]
    assert kernels == [(1, 1), (side, side), (1, 1)]


@pytest.mark.parametrize("side", [6, 7])
def test_halving_takes_even_and_odd_pixels(side: int) -> None:
    layer = FactorisedHalving(2, 4).eval()
    nn.init.ones_(layer.prelu.weight)
    for path in (layer.even, layer.odd):
        nn.init.ones_(path[0].weight)
        with torch.no_grad():
            path[1].weight.copy_(torch.eye(2).view(2, 2, 1, 1))
    x = pictures(1, side)[:, :2]
    found = layer(x) * (1 + layer.norm.eps) ** 0.5
    torch.testing.assert_close(found[:, :2], x[:, :, ::2, ::2])
    odd = x[:, :, 1::2, 1::2]
    torch.testing.assert_close(found[:, 2:, : odd.shape[2], : odd.shape[3]], odd)
    assert not found[:, 2:, odd.shape[2] :].any()  # beyond an odd side there are zeros


def test_another_embedding_width_needs_a_projection() -> None:
    with pytest.raises(InputError, match=r"pocketnet-s128: .* 512 are asked for; set .*: 128"):
        build("pocketnet-s128", outputs=512)


def test_a_projection_leads_from_its_own_embedding_to_another() -> None:
    network = build_student(
        "pocketnet-s128", input_size=112, width=1.0, embedding_width=512, projected_from=128
    ).eval()
    assert num_params(network) == 925_632 + 128 * 512 + 512
    assert network(pictures(2, 112)).shape == (2, 512)
