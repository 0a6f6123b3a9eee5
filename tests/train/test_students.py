"""Students: parameter counts, shapes, and the error for an unknown name."""

from __future__ import annotations

import pytest
import torch

from manifests.errors import InputError
from train.students import build_student
from train.students.base import num_params, scaled


def build(name: str, size: int = 64, width: float = 1.0, outputs: int = 128) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_student(name, input_size=size, width=width, embedding_width=outputs).eval()


def test_mobilefacenet_has_the_published_number_of_parameters() -> None:
    network = build("mobilefacenet", 112)
    slopes = sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.PReLU))
    assert num_params(network) == 1_003_136
    # Chen et al. 2018, Table 3: 0.99 M at 112x112 with 128 outputs; slopes are not counted there.
    assert (num_params(network) - slopes) / 1e6 == pytest.approx(0.99, abs=0.006)


def test_small_resnet_parameter_count() -> None:
    assert num_params(build("small-resnet")) == 2_813_984


@pytest.mark.parametrize("name", ["mobilefacenet", "small-resnet"])
@pytest.mark.parametrize("size", [64, 80, 96, 100, 112])
def test_any_input_size_gives_one_embedding_a_face(name: str, size: int) -> None:
    network = build(name, size, 0.5, 32)
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 32)


@pytest.mark.parametrize("name", ["mobilefacenet", "small-resnet"])
def test_a_faces_embedding_does_not_depend_on_its_neighbours(name: str) -> None:
    network, images = build(name), torch.rand(4, 3, 64, 64) * 255
    together = network(images)
    torch.testing.assert_close(together[2:3], network(images[2:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilefacenet", "small-resnet"])
def test_normalisation_is_part_of_the_network(name: str) -> None:
    network = build(name)
    images = torch.rand(2, 3, 64, 64) * 255
    torch.testing.assert_close(network[0](images), (images - 127.5) / 128)


def test_unknown_student_lists_the_valid_names() -> None:
    with pytest.raises(InputError, match="valid names: mobilefacenet, small-resnet"):
        build("resnet-9000")


def test_scaled_channels_are_multiples_of_eight() -> None:
    assert [scaled(64, w) for w in (0.01, 0.5, 0.75, 1.0)] == [8, 32, 48, 64]
