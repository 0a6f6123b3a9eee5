from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.students import StudentContract, build, count, pictures


class TestIResNet18(StudentContract):
    name = "iresnet-18"
    width = 0.25


class TestIResNet100(StudentContract):
    name = "iresnet-100"
    width = 0.25


@pytest.mark.parametrize(
    ("depth", "params"),
    [(18, 24_025_600), (34, 34_139_328), (50, 43_590_848), (100, 65_156_160)],
)
def test_they_have_the_published_numbers_of_parameters(depth: int, params: int) -> None:
    assert count(f"iresnet-{depth}") == params


@pytest.mark.parametrize("depth", [50, 100])
def test_dropout_is_of_training_alone_and_has_no_weights(depth: int) -> None:
    plain, dropping = (
        build(f"iresnet-{depth}", width=0.01),
        build(f"iresnet-{depth}-dropout", width=0.01),
    )
    dropping.load_state_dict(plain.state_dict())
    seen = pictures(2)
    assert torch.equal(plain.eval()(seen), dropping.eval()(seen))
    torch.manual_seed(0)
    assert not torch.equal(plain.train()(seen), dropping.train()(seen))


@pytest.mark.parametrize(("size", "side"), [(64, 4), (80, 5), (96, 6), (100, 7), (112, 7)])
def test_the_linear_layer_sees_the_whole_map(size: int, side: int) -> None:
    assert build("iresnet-18", size, width=0.25)[1].fc.in_features == 128 * side**2


def test_weights_are_named_as_in_published_checkpoints() -> None:
    with torch.device("meta"):
        state = build("iresnet-50", 112, outputs=512)[1].state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert shapes["conv1.weight"] == (64, 3, 3, 3)
    assert shapes["layer1.0.downsample.0.weight"] == (64, 64, 1, 1)
    assert shapes["layer3.13.bn3.running_var"] == (256,)
    assert shapes["layer4.2.prelu.weight"] == (512,)
    assert shapes["fc.weight"] == (512, 25088)
    assert shapes["features.weight"] == (512,)
    assert "layer3.14.conv1.weight" not in shapes
    assert "layer1.1.downsample.0.weight" not in shapes


def test_conv_layers_are_as_many_as_the_name_says() -> None:
    """A unit has two, the stem one, the linear layer is the last; shortcuts do not count."""
    for depth in (18, 34, 50, 100):
        with torch.device("meta"):
            layers = build(f"iresnet-{depth}").modules()
            kernels = [own.kernel_size for own in layers if isinstance(own, nn.Conv2d)]
        assert kernels.count((3, 3)) + 1 == depth


def test_the_narrowest_has_as_many_channels_as_onednn_can_do() -> None:
    """With 8 channels, the backward pass of the first shortcut ends the process."""
    network = build("iresnet-18", width=0.01)
    assert network[1].layer1[0].downsample[0].in_channels == 16
    network(pictures(2)).sum().backward()
