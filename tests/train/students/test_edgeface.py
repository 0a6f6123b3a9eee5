from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm

from manifests.core.errors import InputError
from pipeline.arrays.numerics import count_macs
from tests.students import StudentContract, build, count
from train.students import build_student
from train.students.edgeface import ChannelAttention, linear, position_waves


class TestEdgeFaceXs(StudentContract):
    name = "edgeface-xs"


class TestEdgeFaceXxs(StudentContract):
    name = "edgeface-xxs"
    width = 0.5


@pytest.mark.parametrize(
    ("name", "params", "published"),
    [
        ("edgeface-xxs", 1_244_744, 1.24),
        ("edgeface-xs", 1_770_492, 1.77),
        ("edgeface-s", 3_652_520, 3.65),
    ],
)
def test_they_have_the_published_numbers_of_parameters(
    name: str, params: int, published: float
) -> None:
    assert count(name) == params
    assert round(params / 1e6, 2) == published


@pytest.mark.parametrize(
    ("name", "mflops"), [("edgeface-xxs", 94.72), ("edgeface-xs", 154.00), ("edgeface-s", 306.12)]
)
def test_multiplications_are_the_published_ones_but_for_the_norms(name: str, mflops: float) -> None:
    """Published FLOPs are two a multiplication, and count what LayerNorm and the mean do."""
    found = count_macs(build(name, 112, outputs=512), 112)
    assert found is not None
    assert 2 * found / 1e6 == pytest.approx(mflops, rel=2e-3)


@pytest.mark.parametrize(("size", "side"), [(64, 2), (80, 2), (96, 3), (112, 3)])
def test_the_map_before_the_mean(size: int, side: int) -> None:
    with torch.device("meta"):
        network = build("edgeface-s", size)
        assert network[:-4](torch.zeros(2, 3, size, size)).shape == (2, 304, side, side)


def test_a_linear_layer_of_low_rank() -> None:
    first, second = linear(10, 4, 0.6).children()
    assert first.weight.shape == (2, 10)  # 0.6 · 4, rounded down
    assert (first.bias, second.weight.shape, second.bias.shape) == (None, (4, 2), (4,))
    assert next(linear(10, 3, 0.1).children()).weight.shape == (2, 10)  # at least 2
    assert isinstance(linear(10, 4, None), nn.Linear)


def test_attention_between_channels_by_loops() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(8, 2, None).eval()
    nn.init.normal_(layer.scale)
    nn.init.uniform_(layer.temperature, 0.5, 2.0)
    nn.init.normal_(layer.query_key_value.weight)
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        found, expected = layer(x), torch.empty_like(x)
        for face in range(2):
            mixed = layer_norm(x[face], (8,), layer.norm.weight, layer.norm.bias, layer.norm.eps)
            query, key, value = layer.query_key_value(mixed).chunk(3, dim=1)  # pixel, channel
            out = torch.zeros(5, 8)
            for channel in range(8):
                head = channel // 4
                others = range(4 * head, 4 * head + 4)
                scores = [_cosine(query[:, channel], key[:, other]) for other in others]
                weights = (torch.stack(scores) * layer.temperature[head]).softmax(0)
                for weight, other in zip(weights, others, strict=True):
                    out[:, channel] += weight * value[:, other]
            expected[face] = layer.scale * layer.project(out)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def _cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one @ other / (one.norm() * other.norm())


def test_position_waves_by_hand() -> None:
    """Row 1 of 4 is a quarter turn, column 4 a whole one; wave 3 is the cosine of the second
    frequency, 10000^(2/32) slower."""
    waves = position_waves(4)
    assert waves.shape == (1, 64, 4, 4)
    assert waves[0, 0, 0, 3] == pytest.approx(1.0, abs=1e-5)  # sine of the row
    assert waves[0, 1, 0, 3] == pytest.approx(0.0, abs=1e-5)  # its cosine
    assert waves[0, 32, 0, 3] == pytest.approx(0.0, abs=1e-5)  # sine of the column
    assert waves[0, 33, 0, 3] == pytest.approx(1.0, abs=1e-5)
    slower = math.cos(math.pi / 2 / 10000 ** (2 / 32))
    assert waves[0, 3, 0, 3] == pytest.approx(slower, abs=1e-5)


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="edgeface: input_size 31, expected at least 32"):
        build_student("edgeface-xxs", input_size=31, width=0.25, embedding_width=8)
    build_student("edgeface-xxs", input_size=32, width=0.25, embedding_width=8)
